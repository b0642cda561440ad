// A wiki: pages of text with links between them, and what they were before. It is net/http and files, one folder a page;
// nothing in it knows of Wasm or of Refrain.
//
//	wiki [-listen ADDRESS] [-dir FOLDER]
//
// Without -listen it takes the listener that is passed to it in descriptor 3, which is how a Wasm guest gets one.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	maxConnections = 256 // further ones wait in the backlog
	maxHeaderBytes = 16 << 10
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("wiki: ")
	address := flag.String("listen", "", "address to listen on; empty takes the listener in descriptor 3")
	folder := flag.String("dir", "/data", "folder of the pages")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %s", flag.Arg(0))
	}
	store, err := openStore(*folder)
	if err != nil {
		log.Fatal(err)
	}
	listener, name, err := listen(*address)
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{
		Handler:           newHandler(store),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	fmt.Printf("wiki: listening on %s\n", name)
	log.Fatal(server.Serve(&limited{Listener: listener, free: make(chan struct{}, maxConnections)}))
}

func listen(address string) (net.Listener, string, error) {
	if address != "" {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return nil, "", err
		}
		return listener, listener.Addr().String(), nil
	}
	if os.Getenv("LISTEN_FDS") == "" {
		return nil, "", fmt.Errorf("no listener was passed in (LISTEN_FDS is not set): give -listen, or `pass = true` in the manifest")
	}
	// Go waits for what does not block, and takes what does as it is: the whole program would wait for the next client.
	if err := syscall.SetNonblock(3, true); err != nil {
		return nil, "", err
	}
	file := os.NewFile(3, "listener")
	defer file.Close()
	listener, err := net.FileListener(file)
	return listener, "descriptor 3", err
}

// A listener that gives out no more connections than there are places.
type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &placed{Conn: conn, free: l.free}, nil
}

// A connection that gives its place back, once.
type placed struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (p *placed) Close() error {
	p.once.Do(func() { <-p.free })
	return p.Conn.Close()
}
