package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

type handler struct{ store *store }

func newHandler(store *store) http.Handler {
	h := handler{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.index)
	mux.HandleFunc("GET /{name}", named(h.show))
	mux.HandleFunc("GET /{name}/raw", named(h.raw))
	mux.HandleFunc("GET /{name}/edit", named(h.edit))
	mux.HandleFunc("GET /{name}/history", named(h.history))
	mux.HandleFunc("GET /{name}/history/{version}", named(h.version))
	mux.HandleFunc("PUT /{name}", named(h.put))
	mux.HandleFunc("POST /{name}", named(h.post))
	mux.HandleFunc("DELETE /{name}", named(h.remove))
	return mux
}

type respond func(w http.ResponseWriter, r *http.Request, name string)

// named refuses requests for what cannot be a page.
func named(respond respond) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if !isName(name) {
			http.Error(w, fmt.Sprintf("not a page's name: up to %d letters, digits and single dashes", maxNameBytes), http.StatusBadRequest)
			return
		}
		respond(w, r, name)
	}
}

func fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errNoPage):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, errConflict):
		http.Error(w, err.Error(), http.StatusPreconditionFailed)
	case errors.Is(err, errFull):
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
	default:
		http.Error(w, "the page cannot be read or written", http.StatusInternalServerError)
		fmt.Printf("wiki: %v\n", err)
	}
}

// send writes a whole document.
func send(w http.ResponseWriter, status int, document string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	w.WriteHeader(status)
	io.WriteString(w, document)
}

func tag(version int) string { return fmt.Sprintf("%q", strconv.Itoa(version)) }

func (h handler) index(w http.ResponseWriter, r *http.Request) {
	send(w, http.StatusOK, index(h.store.names()))
}

func (h handler) show(w http.ResponseWriter, r *http.Request, name string) {
	text, version, err := h.store.read(name, 0)
	if errors.Is(err, errNoPage) {
		send(w, http.StatusNotFound, missing(name))
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("ETag", tag(version))
	send(w, http.StatusOK, page(name, text))
}

func (h handler) raw(w http.ResponseWriter, r *http.Request, name string) {
	h.writeText(w, name, 0)
}

func (h handler) version(w http.ResponseWriter, r *http.Request, name string) {
	version, err := strconv.Atoi(r.PathValue("version"))
	if err != nil || version < 1 {
		fail(w, errNoPage)
		return
	}
	h.writeText(w, name, version)
}

func (h handler) writeText(w http.ResponseWriter, name string, version int) {
	text, version, err := h.store.read(name, version)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.Header().Set("ETag", tag(version))
	io.WriteString(w, text)
}

func (h handler) history(w http.ResponseWriter, r *http.Request, name string) {
	versions, err := h.store.history(name)
	if err != nil {
		fail(w, err)
		return
	}
	send(w, http.StatusOK, history(name, versions))
}

func (h handler) edit(w http.ResponseWriter, r *http.Request, name string) {
	text, version, err := h.store.read(name, 0)
	if err != nil && !errors.Is(err, errNoPage) {
		fail(w, err)
		return
	}
	send(w, http.StatusOK, form(name, text, version, ""))
}

// put takes a page as it is. With If-Match it is written only over that version; "0" is that there is none.
func (h handler) put(w http.ResponseWriter, r *http.Request, name string) {
	base := -1
	if match := r.Header.Get("If-Match"); match != "" && match != "*" {
		version, err := strconv.Atoi(strings.Trim(match, `"`))
		if err != nil || version < 0 {
			fail(w, errConflict)
			return
		}
		base = version
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPageBytes))
	if err != nil {
		tooLarge(w)
		return
	}
	version, err := h.store.write(name, string(body), base)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("ETag", tag(version))
	if version == 1 {
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
}

func tooLarge(w http.ResponseWriter) {
	http.Error(w, fmt.Sprintf("a page has at most %d bytes", maxPageBytes), http.StatusRequestEntityTooLarge)
}

// post takes what the form sends.
func (h handler) post(w http.ResponseWriter, r *http.Request, name string) {
	// Form encoding triples what is no letter.
	r.Body = http.MaxBytesReader(w, r.Body, 3*maxPageBytes+1024)
	if err := r.ParseForm(); err != nil {
		tooLarge(w)
		return
	}
	text := strings.ReplaceAll(r.PostForm.Get("text"), "\r\n", "\n")
	base, err := strconv.Atoi(r.PostForm.Get("base"))
	if err != nil || base < 0 {
		http.Error(w, "the form lacks the version that it began with", http.StatusBadRequest)
		return
	}
	if len(text) > maxPageBytes {
		tooLarge(w)
		return
	}
	newest, err := h.store.write(name, text, base)
	if errors.Is(err, errConflict) {
		send(w, http.StatusConflict, form(name, text, newest, err.Error()))
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, "/"+name, http.StatusSeeOther)
}

func (h handler) remove(w http.ResponseWriter, r *http.Request, name string) {
	if err := h.store.remove(name); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
