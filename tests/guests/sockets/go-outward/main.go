// A program in Go that calls outside: three rounds of a look-up, a connection and a datagram at once, a wait and random
// numbers, each told in one line. The calls that Go lacks are in dial.go.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"time"
)

func main() {
	for round := range 3 {
		line, err := call(round)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line)
	}
}

func call(round int) (string, error) {
	ip, err := lookUp("db.example")
	if err != nil {
		return "", fmt.Errorf("look-up: %w", err)
	}
	address := netip.AddrPortFrom(ip, 5432)
	pong := make(chan string)
	go func() { pong <- ping(address, round) }()
	answer, err := exchange(address, fmt.Sprintf("round %d\n", round))
	if err != nil {
		return "", fmt.Errorf("connection: %w", err)
	}
	time.Sleep(50 * time.Millisecond)
	random := make([]byte, 8)
	rand.Read(random)
	return fmt.Sprint(strings.TrimSuffix(answer, "\n"), " ", <-pong, " ", order(), " ",
		binary.LittleEndian.Uint64(random), " ", time.Now().UnixNano()), nil
}

// Says something to a server, and that it is all; returns everything that it answers.
func exchange(address netip.AddrPort, words string) (string, error) {
	conn, err := dial(stream, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, words); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// The answer to one datagram, or what went wrong.
func ping(address netip.AddrPort, round int) string {
	conn, err := dial(datagram, address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "ping %d", round); err != nil {
		return err.Error()
	}
	buffer := make([]byte, 64)
	count, err := conn.Read(buffer)
	if err != nil {
		return err.Error()
	}
	return string(buffer[:count])
}

// The order in which a map is walked through, which is random in Go.
func order() string {
	var order strings.Builder
	for key := range map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5} {
		order.WriteString(key)
	}
	return order.String()
}
