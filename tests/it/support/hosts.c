/* The addresses of one name, for the process that preloads this: a line each in a file, which is read at each lookup. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *own = getenv("HOSTS_NAME"), *path = getenv("HOSTS_FILE");
    if (!name || !own || !path || strcmp(name, own)) return real(name, service, hints, found);
    FILE *file = fopen(path, "r");
    if (!file) return EAI_AGAIN;
    struct addrinfo *first = NULL, **end = &first;
    char line[64];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        struct addrinfo *some;
        if (real(line, service, hints, &some)) continue;
        for (*end = some; *end;) end = &(*end)->ai_next;
    }
    fclose(file);
    *found = first;
    return first ? 0 : EAI_NONAME;
}
