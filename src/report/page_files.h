/* SPDX-License-Identifier: Apache-2.0 */
/* page_files.h: the page's style and script. tools/embed.py makes these strings from page.css
 * and page.js when the library is built. */
#ifndef LDNQ_REPORT_PAGE_FILES_H
#define LDNQ_REPORT_PAGE_FILES_H

extern const char ldnq_page_css[];
extern const char ldnq_page_js[];

#endif
