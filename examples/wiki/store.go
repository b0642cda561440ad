package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
)

const (
	maxPageBytes = 256 << 10
	maxPages     = 10000
	maxNameBytes = 64
	keptVersions = 20 // older ones are removed
)

var (
	errNoPage   = errors.New("there is no such page")
	errConflict = errors.New("somebody else has changed the page meanwhile")
	errFull     = fmt.Errorf("there are %d pages already, which is the most", maxPages)
)

// Pages in files: the folder NAME holds a page's versions as 1.txt, 2.txt and so on.
type store struct {
	mutex  sync.Mutex
	folder string
	// The newest version of each page.
	newest map[string]int
}

func openStore(folder string) (*store, error) {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	s := &store{folder: folder, newest: make(map[string]int)}
	for _, entry := range entries {
		if !entry.IsDir() || !isName(entry.Name()) {
			continue
		}
		versions, err := s.versions(entry.Name())
		if err != nil {
			return nil, err
		}
		if len(versions) == 0 {
			// A page that an earlier run was about to make, or had almost removed.
			err = os.RemoveAll(filepath.Join(folder, entry.Name()))
			if err != nil {
				return nil, err
			}
			continue
		}
		s.newest[entry.Name()] = versions[len(versions)-1]
	}
	return s, nil
}

// isName tells whether a page can be called so: letters, digits and single dashes.
func isName(name string) bool {
	if name == "" || len(name) > maxNameBytes || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return !strings.Contains(name, "--")
}

func (s *store) names() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	names := make([]string, 0, len(s.newest))
	for name := range s.newest {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (s *store) path(name string, version int) string {
	return filepath.Join(s.folder, name, strconv.Itoa(version)+".txt")
}

// The versions that are kept, in order.
func (s *store) versions(name string) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(s.folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoPage
	}
	if err != nil {
		return nil, err
	}
	var versions []int
	for _, entry := range entries {
		number, isText := strings.CutSuffix(entry.Name(), ".txt")
		if version, err := strconv.Atoi(number); isText && err == nil {
			versions = append(versions, version)
		}
	}
	sort.Ints(versions)
	return versions, nil
}

// read returns a version of a page, and which one it is; version 0 is the newest.
func (s *store) read(name string, version int) (string, int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	newest, exists := s.newest[name]
	if !exists {
		return "", 0, errNoPage
	}
	if version == 0 {
		version = newest
	}
	text, err := os.ReadFile(s.path(name, version))
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoPage
	}
	return string(text), version, err
}

// write makes a new version of a page, and returns its number. base is the version that the writer has seen: 0 when there
// was no page, -1 when it does not matter.
func (s *store) write(name, text string, base int) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	newest, exists := s.newest[name]
	if base >= 0 && base != newest {
		return newest, errConflict
	}
	if !exists && len(s.newest) == maxPages {
		return 0, errFull
	}
	folder := filepath.Join(s.folder, name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return 0, err
	}
	// Under another name first: a version is there as a whole or not at all.
	half := filepath.Join(folder, "half-written")
	if err := os.WriteFile(half, []byte(text), 0o666); err != nil {
		return 0, errors.Join(err, os.Remove(half))
	}
	version := newest + 1
	if err := os.Rename(half, s.path(name, version)); err != nil {
		return 0, err
	}
	s.newest[name] = version
	if old := version - keptVersions; old > 0 {
		if err := os.Remove(s.path(name, old)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	return version, nil
}

// remove takes a page away with all its versions.
func (s *store) remove(name string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, exists := s.newest[name]; !exists {
		return errNoPage
	}
	delete(s.newest, name)
	return os.RemoveAll(filepath.Join(s.folder, name))
}

// history returns the versions of a page that are kept.
func (s *store) history(name string) ([]int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.versions(name)
}
