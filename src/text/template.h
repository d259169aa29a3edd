/* template.h - the JSON of a TemplateProcessing post-processor, and of special tokens, for what writes a tokenizer.json. */
#ifndef GENET_TEXT_TEMPLATE_H
#define GENET_TEXT_TEMPLATE_H
#include <jansson.h>

/* single, pair: words "$A:0", "[SEP]:1" with the type behind the colon, one space between; ids: {"[SEP]": 102, ...}, where
 * every token of the two stands.  NULL: no memory. */
json_t *genet__template_json(const char *single, const char *pair, const json_t *ids);
/* An entry of added_tokens: special, found as it stands. */
json_t *genet__special_json(const char *content, json_int_t id);
#endif
