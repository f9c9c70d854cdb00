/* The workload API of the device: signs with the module's key, and says whom to trust. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

/* Who this module is, and where its hub and its workload API are; from environment variables. */
struct environment {
    const char *hub;
    const char *gateway;
    const char *device;
    const char *module;
    const char *generation;
    const char *workload_uri;
    const char *api_version;
};

/* The certificates, in PEM, of the authorities that the hub's certificate may come from. The text is the caller's;
   NULL if they were not to be had, which is logged. */
char *workload_trust_bundle(const struct environment *environment);

/* A token with which the module connects, valid for some seconds. The text is the caller's; NULL as above. */
char *workload_token(const struct environment *environment, long seconds);

#endif
