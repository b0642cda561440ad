/* The page that shows every image. See gallery.h. */
#include "gallery.h"

#include <stdlib.h>

#include "name.h"
#include "store.h"
#include "text.h"

static const char PAGE_HEAD[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>Images</title>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --line: #d8dce2; --soft: #f3f5f7; --text: #1c2430; --dim: #667080; --accent: #2563c9; }\n"
    "@media (prefers-color-scheme: dark) { :root { --line: #333b47; --soft: #1f2630; --text: #e6eaf0; --dim: #97a1b0; "
    "--accent: #7fb0ff; } body { background: #151a21; } }\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem; font: 16px/1.5 system-ui, sans-serif; color: var(--text); }\n"
    "header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; margin-bottom: 1.5rem; }\n"
    "h1 { font-size: 1.5rem; margin: 0; }\n"
    "header p { margin: 0; color: var(--dim); flex: 1; }\n"
    "label { border: 1px solid var(--line); border-radius: .5rem; padding: .35rem .9rem; color: var(--accent); cursor: pointer; }\n"
    "label:focus-within { outline: 2px solid var(--accent); }\n"
    "label input { position: absolute; opacity: 0; width: 1px; height: 1px; }\n"
    "ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem; grid-template-columns: "
    "repeat(auto-fill, minmax(11rem, 1fr)); }\n"
    "li { border: 1px solid var(--line); border-radius: .75rem; overflow: hidden; }\n"
    "a { color: inherit; text-decoration: none; display: block; }\n"
    "a:hover b, a:focus b { color: var(--accent); }\n"
    ".thumb { display: grid; place-items: center; aspect-ratio: 4 / 3; background: var(--soft); color: var(--dim); "
    "overflow: hidden; }\n"
    ".thumb img { width: 100%; height: 100%; object-fit: cover; }\n"
    ".label { display: flex; gap: .5rem; justify-content: space-between; padding: .5rem .75rem; font-size: .875rem; }\n"
    ".label b { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }\n"
    ".label i { font-style: normal; color: var(--dim); white-space: nowrap; }\n"
    ".empty { border: 2px dashed var(--line); border-radius: .75rem; padding: 4rem 1rem; text-align: center; color: var(--dim); }\n"
    "code { background: var(--soft); border-radius: .25rem; padding: .1rem .35rem; }\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<header><h1>Images</h1><p>";

static const char PAGE_UPLOAD[] =
    "</p><label>Upload<input type=\"file\" multiple id=\"files\"></label></header>\n"
    "<main>\n";

static const char PAGE_EMPTY[] =
    "<div class=\"empty\"><p>No images yet.</p><p>Put one here: <code>curl -T lake.jpg http://HOST:PORT/</code></p></div>\n";

static const char PAGE_TAIL[] =
    "</main>\n"
    "<script>\n"
    "const files = document.getElementById('files');\n"
    "files.onchange = async () => {\n"
    "  for (const file of files.files) {\n"
    "    const reply = await fetch('/' + encodeURIComponent(file.name), { method: 'PUT', body: file });\n"
    "    if (!reply.ok) alert(file.name + ': ' + await reply.text());\n"
    "  }\n"
    "  location.reload();\n"
    "};\n"
    "</script>\n"
    "</body>\n"
    "</html>\n";

/* An entry of the list: its markup, and its name (at most) three times with every byte at its longest form. */
enum { ENTRY_MARKUP = 256, LONGEST_FORM = 6 };

static struct page *current;
static unsigned current_version;
static size_t pages_bytes;

static void add_html(struct text *out, const char *string)
{
    for (; *string != '\0'; string++) {
        switch (*string) {
        case '&':
            add(out, "&amp;");
            break;
        case '<':
            add(out, "&lt;");
            break;
        case '>':
            add(out, "&gt;");
            break;
        case '"':
            add(out, "&quot;");
            break;
        default:
            add_bytes(out, string, 1);
        }
    }
}

static void add_url(struct text *out, const char *string)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *string != '\0'; string++) {
        unsigned char c = (unsigned char)*string;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                     c == '_' || c == '~';
        char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        if (plain)
            add_bytes(out, string, 1);
        else
            add_bytes(out, escaped, sizeof escaped);
    }
}

/* With one decimal from 1 KiB on, in whole-number arithmetic. */
static void add_size(struct text *out, uint64_t size)
{
    static const char *const units[] = {" KiB", " MiB", " GiB", " TiB"};
    size_t unit = 0;
    uint64_t tenths;
    if (size < 1024) {
        add_number(out, size);
        add(out, " B");
        return;
    }
    tenths = size * 10 / 1024;
    while (tenths >= 10240 && unit < 3) {
        tenths /= 1024;
        unit++;
    }
    add_number(out, tenths / 10);
    add(out, ".");
    add_number(out, tenths % 10);
    add(out, units[unit]);
}

static void add_entry(struct text *out, const struct entry *entry)
{
    const char *dot = strrchr(entry->name, '.');
    add(out, "<li><a href=\"/");
    add_url(out, entry->name);
    add(out, "\"><span class=\"thumb\">");
    if (is_image(entry->name)) {
        add(out, "<img loading=\"lazy\" alt=\"\" src=\"/");
        add_url(out, entry->name);
        add(out, "\">");
    } else {
        add_html(out, dot == NULL ? "file" : dot + 1);
    }
    add(out, "</span><span class=\"label\"><b>");
    add_html(out, entry->name);
    add(out, "</b><i>");
    add_size(out, entry->size);
    add(out, "</i></span></a></li>\n");
}

static void add_page(struct text *out, const struct listing *listing)
{
    uint64_t total = 0;
    for (size_t i = 0; i < listing->count; i++)
        total += listing->entries[i].size;
    add(out, PAGE_HEAD);
    if (listing->count > 0) {
        add_number(out, listing->count);
        add(out, listing->count == 1 ? " file, " : " files, ");
        add_size(out, total);
    }
    add(out, PAGE_UPLOAD);
    if (listing->count == 0) {
        add(out, PAGE_EMPTY);
    } else {
        add(out, "<ul>\n");
        for (size_t i = 0; i < listing->count; i++)
            add_entry(out, &listing->entries[i]);
        add(out, "</ul>\n");
    }
    add(out, PAGE_TAIL);
}

static size_t page_bound(const struct listing *listing)
{
    size_t bound = sizeof PAGE_HEAD + sizeof PAGE_UPLOAD + sizeof PAGE_EMPTY + sizeof PAGE_TAIL + 128;
    for (size_t i = 0; i < listing->count; i++)
        bound += ENTRY_MARKUP + 3 * LONGEST_FORM * strlen(listing->entries[i].name);
    return bound;
}

static struct page *render(void)
{
    struct listing listing;
    struct page *page = NULL;
    struct text text = {0};
    if (!store_list(&listing))
        return NULL;
    text.capacity = page_bound(&listing);
    if (text.capacity + pages_bytes <= MAX_PAGES_BYTES)
        page = malloc(sizeof *page + text.capacity);
    if (page != NULL) {
        struct page *fitted;
        text.bytes = page->bytes;
        add_page(&text, &listing);
        fitted = realloc(page, sizeof *page + text.len);
        page = fitted == NULL ? page : fitted;
        page->holders = 1;
        page->len = text.len;
        pages_bytes += page->len;
    }
    listing_free(&listing);
    return page;
}

struct page *gallery_hold(void)
{
    if (current == NULL || current_version != store_version()) {
        if (current != NULL)
            gallery_release(current);
        current = render();
        current_version = store_version();
    }
    if (current != NULL)
        current->holders++;
    return current;
}

void gallery_release(struct page *page)
{
    if (--page->holders > 0)
        return;
    pages_bytes -= page->len;
    free(page);
}
