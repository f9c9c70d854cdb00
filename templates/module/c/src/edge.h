/* A client of the edge hub: what a module needs of it, over MQTT. */
#ifndef EDGE_H
#define EDGE_H

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdbool.h>

#include "message.h"

struct edge;

/* What the module does with what the hub has for it. All are called by edge_run, one after another. */
struct edge_handlers {
    /* A message on an input. */
    void (*on_message)(struct edge *edge, const char *input, const struct message *message);
    /* The desired properties: all of them after connecting, then patches. */
    void (*on_desired)(struct edge *edge, const cJSON *desired, bool is_whole);
    /* A direct method. Returns its status, and puts the payload of the answer into `answer`. */
    int (*on_method)(struct edge *edge, const char *name, const cJSON *payload, cJSON *answer);
};

/* Reads who the module is from the environment and asks whom to trust. NULL if that fails, which is logged. */
struct edge *edge_open(const struct edge_handlers *handlers);

/* Serves the module until `stop` is set; connects again whenever the connection is lost. */
void edge_run(struct edge *edge, const volatile sig_atomic_t *stop);

/* Sends a message; it is kept until the hub has it. */
bool edge_send(struct edge *edge, const char *output, const struct message *message);

/* Reports properties of the module's twin. */
bool edge_report(struct edge *edge, const cJSON *properties);

/* Takes leave of the hub. */
void edge_close(struct edge *edge);

#endif
