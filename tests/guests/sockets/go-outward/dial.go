package main

// WasmEdge's socket calls, as Go has none that call outside under GOOS=wasip1. A socket of theirs is then one of Go's own,
// with deadlines, and goroutines that wait for it.

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"
)

const (
	datagram = 1
	stream   = 2
)

// Go's pointers are twice as long as those of the calls, which are numbers here.
type view struct{ at, size uint32 }

type socketAddress struct {
	family uint8
	size   uint32
	at     uint32
}

type addressInfo struct {
	flags                  uint16
	family, kind, protocol uint8
	size, address          uint32
	name, nameSize, next   uint32
}

//go:wasmimport wasi_snapshot_preview1 sock_open
func sockOpen(family, kind uint32, fd unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 sock_connect
func sockConnect(fd uint32, address unsafe.Pointer, port uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_getaddrinfo
func sockGetaddrinfo(node, service string, hints, results unsafe.Pointer, most uint32, count unsafe.Pointer) uint32

func place(pointer unsafe.Pointer) uint32 { return uint32(uintptr(pointer)) }

// What the host reads and writes beyond the arguments themselves: nothing moves what is global.
var (
	bytes   [16]byte
	address view
	found   struct {
		info    addressInfo
		address socketAddress
		data    [26]byte
	}
)

// The first IPv4 address of a name.
func lookUp(name string) (netip.Addr, error) {
	found.info = addressInfo{address: place(unsafe.Pointer(&found.address))}
	found.address = socketAddress{size: uint32(len(found.data)), at: place(unsafe.Pointer(&found.data))}
	hints := addressInfo{family: 1, kind: stream}
	first, count := place(unsafe.Pointer(&found.info)), uint32(0)
	errno := sockGetaddrinfo(name, "", unsafe.Pointer(&hints), unsafe.Pointer(&first), 1, unsafe.Pointer(&count))
	if errno != 0 {
		return netip.Addr{}, syscall.Errno(errno)
	}
	if count == 0 {
		return netip.Addr{}, syscall.ENOENT
	}
	// The port comes first.
	return netip.AddrFrom4([4]byte(found.data[2:6])), nil
}

func dial(kind uint32, to netip.AddrPort) (net.Conn, error) {
	var fd uint32
	if errno := sockOpen(1, kind, unsafe.Pointer(&fd)); errno != 0 {
		return nil, syscall.Errno(errno)
	}
	file := os.NewFile(uintptr(fd), to.String())
	defer file.Close()
	size := copy(bytes[:], to.Addr().AsSlice())
	address = view{place(unsafe.Pointer(&bytes)), uint32(size)}
	if errno := sockConnect(fd, unsafe.Pointer(&address), uint32(to.Port())); errno != 0 {
		return nil, syscall.Errno(errno)
	}
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}
