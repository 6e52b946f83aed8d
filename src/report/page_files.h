/* page_files.h: the page's style and script, made from the files of these names by
 * tools/embed.py when the library is built. */
#ifndef LDNQ_REPORT_PAGE_FILES_H
#define LDNQ_REPORT_PAGE_FILES_H

extern const char ldnq_page_css[];
extern const char ldnq_page_js[];

#endif
