/* The page that shows every image. One page is kept and shared by all who ask until the folder changes. */
#ifndef GALLERY_H
#define GALLERY_H

#include <stddef.h>

/* All pages together, those that slow clients still hold among them, stay within this. */
enum { MAX_PAGES_BYTES = 32 * 1024 * 1024 };

struct page {
    size_t holders;
    size_t len;
    char bytes[];
};

/* The page as of now, held for the caller; NULL when memory or the limit is short. */
struct page *gallery_hold(void);

/* Gives a held page back. */
void gallery_release(struct page *page);

#endif
