/* A message between modules: a body, and properties that routes can look at. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

/* More than these are dropped. */
#define MAX_PROPERTIES 64

/* What the sender says about a message. Keys that start with "$." are the hub's own: "$.ct" is the type of the body,
   "$.ce" its encoding, "$.mid" and "$.cid" identify the message. */
struct property {
    const char *key;
    const char *value;
};

struct message {
    const char *body;
    size_t length;
    struct property properties[MAX_PROPERTIES];
    size_t count;
};

/* Adds a property, whose text must outlive the message; false if there is no room. */
bool message_add(struct message *message, const char *key, const char *value);

/* Whether a module may set a property of that name. */
bool message_may_set(const char *key);

/* Reads the properties in the end of a topic, which is changed: the message points into it. */
void message_read_bag(struct message *message, char *bag);

/* Writes the properties as they stand in a topic, after `start`; the text is the caller's. NULL without memory. */
char *message_write_bag(const struct message *message, const char *start, const char *output);

/* Percent-encodes all but letters, digits and "-_.~"; `encoded` has room for three times the text and an end. */
void percent_encode(const char *text, char *encoded);

/* Undoes that, in place; a plus is a plus. */
void percent_decode(char *text);

#endif
