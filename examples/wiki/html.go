package main

import (
	"fmt"
	"html"
	"strings"
)

const style = `body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto;padding:0 1em}` +
	`textarea{width:100%;height:24em}nav{border-bottom:1px solid #ccc;margin-bottom:1em}.missing{color:#b00}`

// begin is what all documents begin with.
func begin(title, links string) string {
	return fmt.Sprintf("<!doctype html><meta charset=utf-8><title>%s</title><style>%s</style>"+
		"<nav><a href=/>All pages</a> %s</nav><h1>%[1]s</h1>\n", title, style, links)
}

func index(names []string) string {
	var out strings.Builder
	out.WriteString(begin("Wiki", "") + "<ul>\n")
	for _, name := range names {
		fmt.Fprintf(&out, "<li><a href=/%s>%[1]s</a>\n", name)
	}
	out.WriteString("</ul>\n<p>A new page begins at its address: <code>/Name/edit</code>.\n")
	return out.String()
}

func page(name, text string) string {
	return begin(name, fmt.Sprintf("<a href=/%s/edit>Edit</a> <a href=/%[1]s/history>History</a>", name)) + render(text)
}

func missing(name string) string {
	return begin(name, "") + fmt.Sprintf("<p>There is no such page. <a href=/%s/edit>Write it</a>.\n", name)
}

func form(name, text string, base int, fault string) string {
	if fault != "" {
		fault = fmt.Sprintf("<p class=missing>%s. Saving now replaces what is there.\n", html.EscapeString(fault))
	}
	return begin(name, "") + fault + fmt.Sprintf("<form method=post action=/%s><input type=hidden name=base value=%d>"+
		"<textarea name=text>\n%s</textarea><p><button>Save</button></form>\n", name, base, html.EscapeString(text))
}

func history(name string, versions []int) string {
	var out strings.Builder
	out.WriteString(begin(name, fmt.Sprintf("<a href=/%s>Page</a>", name)) + "<ol reversed>\n")
	for at := len(versions) - 1; at >= 0; at-- {
		fmt.Fprintf(&out, "<li value=%d><a href=/%s/history/%[1]d>version %[1]d</a>\n", versions[at], name)
	}
	out.WriteString("</ol>\n")
	return out.String()
}

// render makes HTML of a page: paragraphs between empty lines, "= " before a heading, "- " before items of a list, and
// [[Name]] for a link to another page.
func render(text string) string {
	var out strings.Builder
	for _, block := range strings.Split(text, "\n\n") {
		block = strings.Trim(block, "\n")
		switch {
		case block == "":
		case strings.HasPrefix(block, "= "):
			fmt.Fprintf(&out, "<h2>%s</h2>\n", inline(block[2:]))
		case strings.HasPrefix(block, "- "):
			out.WriteString("<ul>\n")
			for _, item := range strings.Split(block, "\n") {
				fmt.Fprintf(&out, "<li>%s\n", inline(strings.TrimPrefix(item, "- ")))
			}
			out.WriteString("</ul>\n")
		default:
			fmt.Fprintf(&out, "<p>%s\n", inline(block))
		}
	}
	return out.String()
}

func inline(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "[[")
		name, after, closed := strings.Cut(rest, "]]")
		if !found || !closed || !isName(name) {
			if !found {
				out.WriteString(html.EscapeString(text))
				return out.String()
			}
			out.WriteString(html.EscapeString(before + "[["))
			text = rest
			continue
		}
		out.WriteString(html.EscapeString(before))
		fmt.Fprintf(&out, "<a href=/%s>%[1]s</a>", name)
		text = after
	}
}
