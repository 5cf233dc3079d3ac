/* A simulated VISA library of a maker: the C interface of VPP-4.3.2 in front of simulated instruments, so that PyVISA's
 * own wrapper of such libraries, and what stands on it, can be run without one.
 *
 * AICALIB_SIMULATED_VISA says what is plugged in: NAME=HOST,PORT;NAME=HOST,PORT… with names `USB0::0x0B21::0x0039::SIM1::INSTR`
 * and `GPIB0::5::INSTR`, and the port of the VXI-11 core channel of the simulated instrument behind each. Messages, status
 * byte, device clear and locks are that instrument's own. Not here, and answered with VI_ERROR_NSUP_OPER: events,
 * triggers, formatted and asynchronous input and output, shared locks, registers.
 *
 * Guards: `table` guards the list of objects and their `users`; the `io` of a session, its connection and attributes.
 * `table` is never waited for while holding it across input or output; `io` is taken first where both are. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "export.h"

typedef int32_t ViStatus;
typedef uint32_t ViSession, ViAttr, ViAccessMode, ViEventType;
typedef uint16_t ViUInt16;
typedef uint32_t ViUInt32;
typedef uintptr_t ViAttrState;

#define CODE(bits) ((ViStatus)(bits))
enum {
    VI_SUCCESS = 0,
    VI_SUCCESS_EVENT_DIS = 0x3FFF0003,
    VI_SUCCESS_QUEUE_EMPTY = 0x3FFF0004,
    VI_SUCCESS_TERM_CHAR = 0x3FFF0005,
    VI_SUCCESS_MAX_CNT = 0x3FFF0006,
    VI_WARN_UNKNOWN_STATUS = 0x3FFF0085,
    VI_SUCCESS_NESTED_EXCLUSIVE = 0x3FFF009A,
};
#define VI_ERROR_INV_OBJECT CODE(0xBFFF000Eu)
#define VI_ERROR_RSRC_LOCKED CODE(0xBFFF000Fu)
#define VI_ERROR_INV_EXPR CODE(0xBFFF0010u)
#define VI_ERROR_RSRC_NFOUND CODE(0xBFFF0011u)
#define VI_ERROR_INV_RSRC_NAME CODE(0xBFFF0012u)
#define VI_ERROR_INV_ACC_MODE CODE(0xBFFF0013u)
#define VI_ERROR_TMO CODE(0xBFFF0015u)
#define VI_ERROR_NSUP_ATTR CODE(0xBFFF001Du)
#define VI_ERROR_NSUP_ATTR_STATE CODE(0xBFFF001Eu)
#define VI_ERROR_ATTR_READONLY CODE(0xBFFF001Fu)
#define VI_ERROR_INV_LOCK_TYPE CODE(0xBFFF0020u)
#define VI_ERROR_ABORT CODE(0xBFFF0030u)
#define VI_ERROR_ALLOC CODE(0xBFFF003Cu)
#define VI_ERROR_IO CODE(0xBFFF003Eu)
#define VI_ERROR_NSUP_OPER CODE(0xBFFF0067u)
#define VI_ERROR_USER_BUF CODE(0xBFFF0071u)
#define VI_ERROR_RSRC_BUSY CODE(0xBFFF0072u)
#define VI_ERROR_INV_PARAMETER CODE(0xBFFF0078u)
#define VI_ERROR_SESN_NLOCKED CODE(0xBFFF009Cu)
#define VI_ERROR_CONN_LOST CODE(0xBFFF00A6u)

static const struct {
    ViStatus status;
    const char *text;
} DESCRIPTIONS[] = {
    {VI_SUCCESS, "Operation completed successfully."},
    {VI_SUCCESS_EVENT_DIS, "The event is already disabled."},
    {VI_SUCCESS_QUEUE_EMPTY, "The event queue was empty already."},
    {VI_SUCCESS_TERM_CHAR, "The termination character was read."},
    {VI_SUCCESS_MAX_CNT, "The number of bytes read is equal to the count asked for."},
    {VI_SUCCESS_NESTED_EXCLUSIVE, "This session has nested exclusive locks."},
    {VI_ERROR_INV_OBJECT, "The session or object is invalid."},
    {VI_ERROR_RSRC_LOCKED, "The resource is locked by another session."},
    {VI_ERROR_INV_EXPR, "Invalid expression specified for search."},
    {VI_ERROR_RSRC_NFOUND, "The resource is not present in the system."},
    {VI_ERROR_INV_RSRC_NAME, "Invalid resource reference: parsing error."},
    {VI_ERROR_INV_ACC_MODE, "Invalid access mode."},
    {VI_ERROR_TMO, "Timeout expired before the operation completed."},
    {VI_ERROR_NSUP_ATTR, "The attribute is not defined or supported by the object."},
    {VI_ERROR_NSUP_ATTR_STATE, "The state of the attribute is not valid or not supported."},
    {VI_ERROR_ATTR_READONLY, "The attribute is read-only."},
    {VI_ERROR_INV_LOCK_TYPE, "The type of lock is not supported by this resource."},
    {VI_ERROR_ABORT, "The operation was aborted."},
    {VI_ERROR_ALLOC, "Insufficient system resources."},
    {VI_ERROR_IO, "Input or output error."},
    {VI_ERROR_NSUP_OPER, "The session does not support this operation."},
    {VI_ERROR_USER_BUF, "A user buffer is not valid."},
    {VI_ERROR_RSRC_BUSY, "The resource is valid, but cannot be accessed now."},
    {VI_ERROR_INV_PARAMETER, "The value of a parameter is not valid."},
    {VI_ERROR_SESN_NLOCKED, "The session does not have a lock on the resource."},
    {VI_ERROR_CONN_LOST, "The connection to the resource has been lost."},
};

enum { VI_NO_LOCK = 0, VI_EXCLUSIVE_LOCK = 1, VI_SHARED_LOCK = 2, VI_LOAD_CONFIG = 4 };
enum { VI_INTF_GPIB = 1, VI_INTF_USB = 7 };
enum { VI_PROT_NORMAL = 1, VI_PROT_USBTMC_VENDOR = 5, VI_NO_SEC_ADDR = 0xFFFF };
#define VI_TMO_INFINITE 0xFFFFFFFFu
#define SPEC_VERSION 0x00700000u

enum { LENGTH = 256 /* VI_FIND_BUFLEN, and what a string attribute may need */, MOST_PLUGGED = 64 };
enum { GRACE_MS = 50 /* for the instrument's own "timed out" to arrive */, CONNECT_MS = 5000, GOODBYE_MS = 500 };
enum { LARGEST_RECORD = 1 << 20 };

/* Resource names */

typedef struct {
    ViUInt16 interface, board, first, second; /* maker and model at USB; primary and secondary address at GPIB */
    ViUInt16 number;                          /* of the USB interface */
    char serial[64];
    char name[LENGTH]; /* as this library writes it */
} Address;

static bool number_of(const char *text, unsigned long most, ViUInt16 *value)
{
    char *end;
    if (text == NULL || *text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long found = strtoul(text, &end, strncasecmp(text, "0x", 2) == 0 ? 16 : 10);
    *value = (ViUInt16)found;
    return errno == 0 && *end == '\0' && found <= most;
}

static bool parse(const char *text, Address *out)
{
    char copy[LENGTH], *parts[8], *rest = copy;
    int count = 0;
    if (text == NULL || strlen(text) >= sizeof copy)
        return false;
    strcpy(copy, text);
    while (count < 8) {
        parts[count++] = rest;
        char *border = strstr(rest, "::");
        if (border == NULL)
            break;
        *border = '\0';
        rest = border + 2;
    }
    memset(out, 0, sizeof *out);
    if (count < 2 || strcasecmp(parts[count - 1], "INSTR") != 0)
        return false;
    bool usb = strncasecmp(parts[0], "USB", 3) == 0;
    if (!usb && strncasecmp(parts[0], "GPIB", 4) != 0)
        return false;
    const char *board = parts[0] + (usb ? 3 : 4);
    if (*board != '\0' && !number_of(board, 255, &out->board))
        return false;
    if (usb) {
        out->interface = VI_INTF_USB;
        if (count < 5 || count > 6 || !number_of(parts[1], 0xFFFF, &out->first) || !number_of(parts[2], 0xFFFF, &out->second)
            || *parts[3] == '\0' || strlen(parts[3]) >= sizeof out->serial
            || (count == 6 && !number_of(parts[4], 255, &out->number)))
            return false;
        strcpy(out->serial, parts[3]);
        int used = snprintf(out->name, sizeof out->name, "USB%u::0x%04X::0x%04X::%s", out->board, out->first, out->second,
                            out->serial);
        if (out->number != 0)
            used += snprintf(out->name + used, sizeof out->name - (size_t)used, "::%u", out->number);
        snprintf(out->name + used, sizeof out->name - (size_t)used, "::INSTR");
        return true;
    }
    out->interface = VI_INTF_GPIB;
    out->second = VI_NO_SEC_ADDR;
    if (count < 3 || count > 4 || !number_of(parts[1], 30, &out->first) || (count == 4 && !number_of(parts[2], 30, &out->second)))
        return false;
    if (count == 4)
        snprintf(out->name, sizeof out->name, "GPIB%u::%u::%u::INSTR", out->board, out->first, out->second);
    else
        snprintf(out->name, sizeof out->name, "GPIB%u::%u::INSTR", out->board, out->first);
    return true;
}

/* What is plugged in */

typedef struct {
    Address address;
    char host[64], port[8];
} Plugged;

static int plugged(Plugged *found)
{
    const char *said = getenv("AICALIB_SIMULATED_VISA");
    char *copy = said == NULL ? NULL : strdup(said), *rest = copy, *item;
    int count = 0;
    while (copy != NULL && count < MOST_PLUGGED && (item = strsep(&rest, ";")) != NULL) {
        char *host = strrchr(item, '='), *port = host == NULL ? NULL : strrchr(host, ',');
        if (port == NULL)
            continue;
        *host++ = *port++ = '\0';
        if (parse(item, &found[count].address) && strlen(host) < sizeof found->host && strlen(port) < sizeof found->port) {
            strcpy(found[count].host, host);
            strcpy(found[count].port, port);
            count++;
        }
    }
    free(copy);
    return count;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait until the socket is ready; false at the deadline (ms of `now_ms`, negative = none). */
static bool ready(int fd, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline < 0 ? 1000 : deadline - now_ms();
        struct pollfd one = {.fd = fd, .events = events};
        int found = poll(&one, 1, left < 0 ? 0 : left > 60000 ? 60000 : (int)left);
        if (found > 0)
            return true;
        if (found < 0 && errno != EINTR)
            return true; /* the call that follows tells what is wrong */
        if (deadline >= 0 && now_ms() >= deadline)
            return false;
    }
}

static int reach(const Plugged *device)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    if (getaddrinfo(device->host, device->port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        int failed = 0, on = 1;
        socklen_t size = sizeof failed;
        if (connect(fd, found->ai_addr, found->ai_addrlen) != 0
            && (errno != EINPROGRESS || !ready(fd, POLLOUT, now_ms() + CONNECT_MS)
                || getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed != 0)) {
            close(fd);
            fd = -1;
        } else {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* Objects: resource managers, sessions, find lists. A handle is never given out twice. */

typedef enum { MANAGER, SESSION, FINDLIST } Kind;

typedef struct Object {
    struct Object *next;
    uint32_t handle, manager;
    Kind kind;
    int users;   /* calls under way, and one for being in the table */
    bool closed; /* guarded by `table` */
    ViAttrState user_data;
    /* of a find list */
    char (*names)[LENGTH];
    int count, at;
    /* of a session */
    pthread_mutex_t io;
    Address address;
    int fd;
    bool lost;
    uint32_t link, transaction, largest;
    uint32_t timeout;
    uint8_t terminator;
    bool ends_at_terminator, sends_end, suppresses_end;
    ViUInt16 protocol;
    int locks;
    uint8_t *stream; /* what has come of the next records */
    size_t held, room;
    bool owed, owed_read; /* a reply that was not waited for is still to come; it answers a read */
    uint8_t *late;        /* what came late: still in the instrument's output, as far as the program can tell */
    size_t late_size;
    uint32_t late_reason;
} Object;

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static Object *objects;
static uint32_t last_handle = 1000;

static Object *take(uint32_t handle, Kind kind)
{
    pthread_mutex_lock(&table);
    Object *found = objects;
    while (found != NULL && (found->handle != handle || found->kind != kind))
        found = found->next;
    if (found != NULL)
        found->users++;
    pthread_mutex_unlock(&table);
    return found;
}

static Object *take_any(uint32_t handle)
{
    for (int kind = MANAGER; kind <= FINDLIST; kind++) {
        Object *found = take(handle, (Kind)kind);
        if (found != NULL)
            return found;
    }
    return NULL;
}

static void say_goodbye(Object *one);

static void give(Object *one)
{
    pthread_mutex_lock(&table);
    bool last = --one->users == 0;
    pthread_mutex_unlock(&table);
    if (!last)
        return;
    if (one->kind == SESSION) {
        say_goodbye(one);
        close(one->fd);
        pthread_mutex_destroy(&one->io);
    }
    free(one->names);
    free(one->stream);
    free(one->late);
    free(one);
}

static bool is_open(uint32_t handle, Kind kind)
{
    Object *found = take(handle, kind);
    if (found != NULL)
        give(found);
    return found != NULL;
}

/* Put a new object into the table, unless its manager has gone; its handle is valid from then on. */
static bool add(Object *one)
{
    pthread_mutex_lock(&table);
    bool there = one->kind == MANAGER;
    for (Object *each = objects; each != NULL && !there; each = each->next)
        there = each->kind == MANAGER && each->handle == one->manager;
    if (there) {
        one->handle = ++last_handle;
        one->next = objects;
        objects = one;
    }
    pthread_mutex_unlock(&table);
    return there;
}

/* Take an object, and what a manager opened, out of the table; a call that waits on it is woken. */
static bool withdraw(uint32_t handle)
{
    Object *gone = NULL, **at = &objects;
    bool found = false;
    pthread_mutex_lock(&table);
    while (*at != NULL) {
        Object *one = *at;
        if (one->handle == handle || (one->kind != MANAGER && one->manager == handle)) {
            found = found || one->handle == handle;
            *at = one->next;
            one->next = gone;
            gone = one;
            one->closed = true;
            if (one->kind == SESSION && one->users > 1)
                shutdown(one->fd, SHUT_RDWR);
        } else {
            at = &one->next;
        }
    }
    pthread_mutex_unlock(&table);
    while (gone != NULL) {
        Object *next = gone->next;
        give(gone);
        gone = next;
    }
    return found;
}

/* ONC RPC to the core channel, VXI-11 */

enum { CREATE_LINK = 10, WRITE = 11, READ = 12, READ_STATUS = 13, CLEAR = 15, LOCK = 18, UNLOCK = 19, DESTROY_LINK = 23 };
enum { WAIT_LOCK = 1, END_FLAG = 8, TERMINATOR_SET = 128 };
enum { REASON_TERMINATOR = 2, REASON_END = 4 };
enum { CORE = 0x0607AF, CALL_WORDS = 10, HEAD = 4 * (1 + CALL_WORDS) };

static void put(uint8_t *to, uint32_t value)
{
    for (int byte = 0; byte < 4; byte++)
        to[byte] = (uint8_t)(value >> (24 - 8 * byte));
}

static uint32_t word(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

typedef struct {
    const uint8_t *at;
    size_t left;
} Reply;

static bool next(Reply *reply, uint32_t *value)
{
    if (reply->left < 4)
        return false;
    *value = word(reply->at);
    reply->at += 4;
    reply->left -= 4;
    return true;
}

static ViStatus lose(Object *one)
{
    pthread_mutex_lock(&table);
    bool closed = one->closed;
    pthread_mutex_unlock(&table);
    one->lost = true;
    return closed ? VI_ERROR_INV_OBJECT : VI_ERROR_CONN_LOST;
}

static ViStatus send_all(Object *one, const uint8_t *data, size_t size, int64_t deadline)
{
    while (size > 0) {
        ssize_t sent = send(one->fd, data, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            data += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (!ready(one->fd, POLLOUT, deadline)) {
                lose(one); /* half of a record is out: nothing sensible can follow it */
                return VI_ERROR_TMO;
            }
        } else if (errno != EINTR) {
            return lose(one);
        }
    }
    return VI_SUCCESS;
}

/* Wait for one whole record; it stays in the stream, `size` bytes long, its fragment mark included. */
static ViStatus record(Object *one, size_t *size, int64_t deadline)
{
    for (;;) {
        if (one->held >= 4) {
            uint32_t mark = word(one->stream);
            *size = 4 + (size_t)(mark & 0x7FFFFFFF);
            if (!(mark & 0x80000000u) || *size > LARGEST_RECORD)
                return lose(one); /* the simulated instruments answer in one fragment */
            if (one->held >= *size)
                return VI_SUCCESS;
        }
        if (one->room - one->held < 4096) {
            size_t more = one->room == 0 ? 8192 : 2 * one->room;
            uint8_t *grown = realloc(one->stream, more);
            if (grown == NULL)
                return VI_ERROR_ALLOC;
            one->stream = grown;
            one->room = more;
        }
        ssize_t got = recv(one->fd, one->stream + one->held, one->room - one->held, 0);
        if (got > 0)
            one->held += (size_t)got;
        else if (got == 0 || (errno != EAGAIN && errno != EINTR))
            return lose(one);
        else if (!ready(one->fd, POLLIN, deadline))
            return VI_ERROR_TMO;
    }
}

/* Find the results in the record at the head of the stream. */
static ViStatus results(Object *one, size_t size, Reply *reply)
{
    uint32_t transaction, kind, accepted, flavour, length, status;
    *reply = (Reply){one->stream + 4, size - 4};
    if (!next(reply, &transaction) || !next(reply, &kind) || !next(reply, &accepted) || !next(reply, &flavour)
        || !next(reply, &length) || length != 0 || !next(reply, &status) || transaction != one->transaction || kind != 1)
        return lose(one);
    return accepted == 0 && status == 0 ? VI_SUCCESS : VI_ERROR_IO;
}

static void drop_record(Object *one, size_t size)
{
    one->held -= size;
    memmove(one->stream, one->stream + size, one->held);
}

static ViStatus of_device(uint32_t error)
{
    switch (error) {
    case 0: return VI_SUCCESS;
    case 3: return VI_ERROR_RSRC_NFOUND;
    case 4: return VI_ERROR_CONN_LOST;
    case 8: return VI_ERROR_NSUP_OPER;
    case 9: return VI_ERROR_RSRC_BUSY;
    case 11: return VI_ERROR_RSRC_LOCKED;
    case 12: return VI_ERROR_SESN_NLOCKED;
    case 15: return VI_ERROR_TMO;
    case 23: return VI_ERROR_ABORT;
    default: return VI_ERROR_IO;
    }
}

/* The data in what a read was answered with; `at` points into the stream. */
static ViStatus read_results(Reply *reply, const uint8_t **at, uint32_t *size, uint32_t *reason)
{
    uint32_t error;
    if (!next(reply, &error) || !next(reply, reason) || !next(reply, size) || *size > reply->left)
        return VI_ERROR_IO;
    *at = reply->at;
    return of_device(error);
}

/* Wait for the reply that an earlier call gave up; what it brought of a message is kept for the next read. */
static ViStatus settle(Object *one, int64_t deadline)
{
    size_t size;
    if (!one->owed)
        return VI_SUCCESS;
    ViStatus status = record(one, &size, deadline);
    if (status != VI_SUCCESS)
        return status;
    Reply reply;
    const uint8_t *data;
    uint32_t length;
    one->owed = false;
    if (results(one, size, &reply) == VI_SUCCESS && one->owed_read
        && read_results(&reply, &data, &length, &one->late_reason) == VI_SUCCESS && length > 0) {
        free(one->late);
        one->late = malloc(length);
        one->late_size = one->late == NULL ? 0 : length;
        if (one->late != NULL)
            memcpy(one->late, data, length);
    }
    drop_record(one, size);
    return one->lost ? VI_ERROR_CONN_LOST : VI_SUCCESS;
}

/* Call a procedure of the core channel. words: its arguments; data: an opaque after them, or NULL. After VI_SUCCESS the
 * results are in `reply` and `size` bytes of the stream are to be dropped. */
static ViStatus call(Object *one, uint32_t procedure, const uint32_t *words, int count, const void *data, uint32_t length,
                     int64_t deadline, Reply *reply, size_t *size)
{
    if (one->lost)
        return lose(one);
    ViStatus status = settle(one, deadline);
    if (status != VI_SUCCESS)
        return status;
    size_t opaque = data == NULL ? 0 : 4 + ((size_t)length + 3) / 4 * 4, whole = HEAD + 4 * (size_t)count + opaque;
    uint8_t *message = calloc(1, whole);
    if (message == NULL)
        return VI_ERROR_ALLOC;
    const uint32_t head[] = {0x80000000u | (uint32_t)(whole - 4), ++one->transaction, 0, 2, CORE, 1, procedure, 0, 0, 0, 0};
    for (int each = 0; each < 1 + CALL_WORDS; each++)
        put(message + 4 * each, head[each]);
    for (int each = 0; each < count; each++)
        put(message + HEAD + 4 * each, words[each]);
    if (data != NULL) {
        put(message + HEAD + 4 * count, length);
        memcpy(message + HEAD + 4 * count + 4, data, length);
    }
    status = send_all(one, message, whole, deadline);
    free(message);
    if (status != VI_SUCCESS)
        return status;
    status = record(one, size, deadline);
    if (status == VI_ERROR_TMO) {
        one->owed = true;
        one->owed_read = procedure == READ;
    }
    if (status != VI_SUCCESS)
        return status;
    status = results(one, *size, reply);
    if (status != VI_SUCCESS && !one->lost)
        drop_record(one, *size);
    return status;
}

/* Call a procedure that answers with an error and up to three numbers. */
static ViStatus ask(Object *one, uint32_t procedure, const uint32_t *words, int count, const void *data, uint32_t length,
                    int64_t deadline, uint32_t *values, int wanted)
{
    Reply reply;
    size_t size;
    uint32_t error;
    ViStatus status = call(one, procedure, words, count, data, length, deadline, &reply, &size);
    if (status != VI_SUCCESS)
        return status;
    bool whole = next(&reply, &error);
    for (int each = 0; each < wanted && whole; each++)
        whole = next(&reply, &values[each]);
    drop_record(one, size);
    return whole ? of_device(error) : VI_ERROR_IO;
}

static int64_t deadline_of(const Object *one)
{
    return one->timeout == VI_TMO_INFINITE ? -1 : now_ms() + one->timeout + GRACE_MS;
}

static uint32_t left_of(const Object *one, int64_t deadline)
{
    int64_t left = deadline - GRACE_MS - now_ms();
    return one->timeout == VI_TMO_INFINITE ? 0x7FFFFFFF : left < 0 ? 0 : (uint32_t)left;
}

/* Call a procedure of the generic parameters. */
static ViStatus generic(Object *one, uint32_t procedure, uint32_t *value)
{
    int64_t deadline = deadline_of(one);
    const uint32_t words[] = {one->link, 0, 0, left_of(one, deadline)};
    return ask(one, procedure, words, 4, NULL, 0, deadline, value, value == NULL ? 0 : 1);
}

/* Destroy the link, so that an instrument of one link is free when this returns. */
static void say_goodbye(Object *one)
{
    if (!one->lost && !one->owed)
        ask(one, DESTROY_LINK, &one->link, 1, NULL, 0, now_ms() + GOODBYE_MS, NULL, 0);
}

/* Begin a call with the object that was taken for it: the connection of a session is locked until it is finished. */
static Object *locked(Object *one)
{
    if (one != NULL && one->kind == SESSION)
        pthread_mutex_lock(&one->io);
    return one;
}

static Object *begin(ViSession vi)
{
    return locked(take(vi, SESSION));
}

static Object *begin_any(uint32_t vi)
{
    return locked(take_any(vi));
}

static ViStatus finish(Object *one, ViStatus status)
{
    if (one->kind == SESSION)
        pthread_mutex_unlock(&one->io);
    give(one);
    return status;
}

/* Resource manager */

EXPORT ViStatus viOpenDefaultRM(ViSession *vi)
{
    if (vi == NULL)
        return VI_ERROR_INV_PARAMETER;
    Object *one = calloc(1, sizeof *one);
    if (one == NULL)
        return VI_ERROR_ALLOC;
    one->kind = MANAGER;
    one->users = 1;
    add(one);
    *vi = one->handle;
    return VI_SUCCESS;
}

EXPORT ViStatus viGetDefaultRM(ViSession *vi)
{
    return viOpenDefaultRM(vi);
}

EXPORT ViStatus viClose(uint32_t vi)
{
    return withdraw(vi) ? VI_SUCCESS : VI_ERROR_INV_OBJECT;
}

/* Turn an expression of VISA into one of POSIX; false where it does not fit or asks for attributes. */
static bool as_posix(const char *expression, char *out, size_t room)
{
    size_t used = 0;
    bool list = false;
    if (strlen(expression) * 2 + 8 > room || strchr(expression, '{') != NULL)
        return false;
    used += (size_t)sprintf(out, "^(");
    for (const char *at = expression; *at != '\0'; at++) {
        if (*at == '[' || *at == ']')
            list = *at == '[';
        if (*at == '?' && !list) {
            out[used++] = '.';
        } else if (*at == '\\' && at[1] != '\0') {
            if (!isalnum((unsigned char)*++at)) /* there it would be no ordinary character to POSIX */
                out[used++] = '\\';
            out[used++] = *at;
        } else {
            if (!list && strchr(".^$", *at) != NULL)
                out[used++] = '\\';
            out[used++] = *at;
        }
    }
    strcpy(out + used, ")$");
    return true;
}

EXPORT ViStatus viFindRsrc(ViSession manager, const char *expression, uint32_t *list, ViUInt32 *count, char *name)
{
    char posix[2 * LENGTH + 8];
    regex_t pattern;
    if (!is_open(manager, MANAGER))
        return VI_ERROR_INV_OBJECT;
    if (name == NULL)
        return VI_ERROR_USER_BUF;
    if (expression == NULL || !as_posix(expression, posix, sizeof posix)
        || regcomp(&pattern, posix, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0)
        return VI_ERROR_INV_EXPR;
    Plugged *all = calloc(MOST_PLUGGED, sizeof *all);
    Object *one = calloc(1, sizeof *one);
    char(*names)[LENGTH] = calloc(MOST_PLUGGED, LENGTH);
    ViStatus status = VI_ERROR_ALLOC;
    if (all != NULL && one != NULL && names != NULL) {
        int found = plugged(all);
        one->kind = FINDLIST;
        one->users = 1;
        one->manager = manager;
        one->names = names;
        for (int each = 0; each < found; each++) {
            int fd = regexec(&pattern, all[each].address.name, 0, NULL, 0) == 0 ? reach(&all[each]) : -1;
            if (fd < 0)
                continue;
            close(fd);
            strcpy(names[one->count++], all[each].address.name);
        }
        status = one->count == 0 ? VI_ERROR_RSRC_NFOUND : VI_SUCCESS;
    }
    regfree(&pattern);
    free(all);
    if (status == VI_SUCCESS) {
        strcpy(name, names[0]);
        one->at = 1;
        if (count != NULL)
            *count = (ViUInt32)one->count;
        if (list != NULL && add(one)) {
            *list = one->handle;
            return VI_SUCCESS;
        }
        status = list == NULL ? VI_SUCCESS : VI_ERROR_INV_OBJECT;
    }
    free(names);
    free(one);
    return status;
}

EXPORT ViStatus viFindNext(uint32_t list, char *name)
{
    Object *one = take(list, FINDLIST);
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    ViStatus status = VI_ERROR_USER_BUF;
    if (name != NULL) {
        pthread_mutex_lock(&table);
        int at = one->at < one->count ? one->at++ : -1;
        pthread_mutex_unlock(&table);
        status = at < 0 ? VI_ERROR_RSRC_NFOUND : VI_SUCCESS;
        if (at >= 0)
            strcpy(name, one->names[at]);
    }
    give(one);
    return status;
}

EXPORT ViStatus viParseRsrcEx(ViSession manager, const char *name, ViUInt16 *interface, ViUInt16 *board, char *class, char *whole,
                              char *alias)
{
    Address address;
    if (!is_open(manager, MANAGER))
        return VI_ERROR_INV_OBJECT;
    if (!parse(name, &address))
        return VI_ERROR_INV_RSRC_NAME;
    if (interface != NULL)
        *interface = address.interface;
    if (board != NULL)
        *board = address.board;
    if (class != NULL)
        strcpy(class, "INSTR");
    if (whole != NULL)
        strcpy(whole, address.name);
    if (alias != NULL)
        *alias = '\0';
    return VI_SUCCESS;
}

EXPORT ViStatus viParseRsrc(ViSession manager, const char *name, ViUInt16 *interface, ViUInt16 *board)
{
    return viParseRsrcEx(manager, name, interface, board, NULL, NULL, NULL);
}

static ViStatus lock_device(Object *one, uint32_t wait_ms)
{
    const uint32_t words[] = {one->link, WAIT_LOCK, wait_ms};
    int64_t deadline = wait_ms == VI_TMO_INFINITE ? -1 : now_ms() + wait_ms + GRACE_MS;
    return ask(one, LOCK, words, 3, NULL, 0, deadline, NULL, 0);
}

EXPORT ViStatus viOpen(ViSession manager, const char *name, ViAccessMode mode, ViUInt32 timeout, ViSession *vi)
{
    Address address;
    if (!is_open(manager, MANAGER))
        return VI_ERROR_INV_OBJECT;
    if (vi == NULL)
        return VI_ERROR_INV_PARAMETER;
    if (!parse(name, &address))
        return VI_ERROR_INV_RSRC_NAME;
    if (mode & ~(ViAccessMode)(VI_EXCLUSIVE_LOCK | VI_LOAD_CONFIG))
        return VI_ERROR_INV_ACC_MODE;
    Plugged *all = calloc(MOST_PLUGGED, sizeof *all);
    Object *one = calloc(1, sizeof *one);
    if (all == NULL || one == NULL) {
        free(all);
        free(one);
        return VI_ERROR_ALLOC;
    }
    int found = plugged(all), fd = -1;
    for (int each = 0; each < found && fd < 0; each++)
        if (strcasecmp(all[each].address.name, address.name) == 0) {
            address = all[each].address;
            fd = reach(&all[each]);
        }
    free(all);
    if (fd < 0) {
        free(one);
        return VI_ERROR_RSRC_NFOUND;
    }
    *one = (Object){.kind = SESSION, .users = 1, .manager = manager, .address = address, .fd = fd, .timeout = 2000,
                    .terminator = '\n', .sends_end = true, .protocol = VI_PROT_NORMAL};
    pthread_mutex_init(&one->io, NULL);
    uint32_t values[3] = {0};
    const uint32_t words[] = {0, 0, 0};
    ViStatus status = ask(one, CREATE_LINK, words, 3, "inst0", 5, now_ms() + CONNECT_MS, values, 3);
    one->link = values[0];
    one->largest = values[2] < 1024 ? 1024 : values[2];
    if (status != VI_SUCCESS)
        one->lost = true; /* there is no link to say goodbye to */
    if (status == VI_SUCCESS && mode & VI_EXCLUSIVE_LOCK) {
        status = lock_device(one, timeout);
        one->locks = status == VI_SUCCESS;
    }
    if (status == VI_SUCCESS && !add(one))
        status = VI_ERROR_INV_OBJECT;
    if (status == VI_SUCCESS)
        *vi = one->handle;
    else
        give(one);
    return status == VI_ERROR_CONN_LOST ? VI_ERROR_RSRC_NFOUND : status;
}

/* Messages */

EXPORT ViStatus viWrite(ViSession vi, const uint8_t *data, ViUInt32 count, ViUInt32 *written)
{
    Object *one = begin(vi);
    ViUInt32 done = 0;
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    ViStatus status = data == NULL ? VI_ERROR_USER_BUF : VI_SUCCESS;
    int64_t deadline = deadline_of(one);
    while (status == VI_SUCCESS && done < count) {
        uint32_t piece = count - done < one->largest ? count - done : one->largest, taken = 0;
        bool last = done + piece == count;
        const uint32_t words[] = {one->link, left_of(one, deadline), 0, last && one->sends_end ? END_FLAG : 0};
        status = ask(one, WRITE, words, 4, data + done, piece, deadline, &taken, 1);
        if (status == VI_SUCCESS)
            done += piece;
    }
    if (written != NULL)
        *written = done;
    return finish(one, status);
}

/* Give what came late, up to `room` bytes of it. */
static uint32_t from_late(Object *one, uint8_t *to, uint32_t room, uint32_t *reason)
{
    uint32_t size = one->late_size < room ? (uint32_t)one->late_size : room;
    memcpy(to, one->late, size);
    one->late_size -= size;
    memmove(one->late, one->late + size, one->late_size);
    *reason = one->late_size == 0 ? one->late_reason : 0;
    return size;
}

EXPORT ViStatus viRead(ViSession vi, uint8_t *data, ViUInt32 count, ViUInt32 *got)
{
    Object *one = begin(vi);
    ViUInt32 done = 0;
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    int64_t deadline = deadline_of(one);
    uint32_t reason = 0;
    ViStatus status = data == NULL ? VI_ERROR_USER_BUF : settle(one, deadline);
    while (status == VI_SUCCESS && done < count && !(reason & (REASON_END | REASON_TERMINATOR))) {
        if (one->late_size > 0) {
            done += from_late(one, data + done, count - done, &reason);
            continue;
        }
        Reply reply;
        size_t size;
        const uint8_t *found;
        uint32_t length, flags = one->ends_at_terminator ? TERMINATOR_SET : 0;
        const uint32_t words[] = {one->link, count - done, left_of(one, deadline), 0, flags, one->terminator};
        status = call(one, READ, words, 6, NULL, 0, deadline, &reply, &size);
        if (status != VI_SUCCESS)
            break;
        status = read_results(&reply, &found, &length, &reason);
        if (status == VI_SUCCESS && length > count - done)
            status = VI_ERROR_IO;
        if (status == VI_SUCCESS) {
            memcpy(data + done, found, length);
            done += length;
        }
        drop_record(one, size);
    }
    if (got != NULL)
        *got = done;
    if (status != VI_SUCCESS)
        return finish(one, status);
    if (reason & REASON_END && !one->suppresses_end)
        return finish(one, VI_SUCCESS);
    return finish(one, reason & REASON_TERMINATOR ? VI_SUCCESS_TERM_CHAR : VI_SUCCESS_MAX_CNT);
}

EXPORT ViStatus viReadSTB(ViSession vi, ViUInt16 *byte)
{
    Object *one = begin(vi);
    uint32_t value = 0;
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    ViStatus status = byte == NULL ? VI_ERROR_USER_BUF : generic(one, READ_STATUS, &value);
    if (status == VI_SUCCESS)
        *byte = (ViUInt16)((value & 0xFF) | (one->late_size > 0 ? 16 : 0));
    return finish(one, status);
}

EXPORT ViStatus viClear(ViSession vi)
{
    Object *one = begin(vi);
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    ViStatus status = generic(one, CLEAR, NULL);
    if (status == VI_SUCCESS)
        one->late_size = 0;
    return finish(one, status);
}

/* Locks */

EXPORT ViStatus viLock(ViSession vi, ViAccessMode type, ViUInt32 timeout, const char *key, char *access_key)
{
    (void)key;
    Object *one = begin(vi);
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    if (access_key != NULL)
        *access_key = '\0';
    if (type != VI_EXCLUSIVE_LOCK)
        return finish(one, VI_ERROR_INV_LOCK_TYPE);
    if (one->locks > 0) {
        one->locks++;
        return finish(one, VI_SUCCESS_NESTED_EXCLUSIVE);
    }
    ViStatus status = lock_device(one, timeout);
    one->locks += status == VI_SUCCESS;
    return finish(one, status == VI_ERROR_RSRC_LOCKED && timeout > 0 ? VI_ERROR_TMO : status);
}

EXPORT ViStatus viUnlock(ViSession vi)
{
    Object *one = begin(vi);
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    if (one->locks == 0)
        return finish(one, VI_ERROR_SESN_NLOCKED);
    if (--one->locks > 0)
        return finish(one, VI_SUCCESS_NESTED_EXCLUSIVE);
    return finish(one, ask(one, UNLOCK, &one->link, 1, NULL, 0, deadline_of(one), NULL, 0));
}

/* Attributes */

typedef enum { TEXT, ONE = 1, TWO = 2, FOUR = 4, POINTER = 8 } Form;

static const struct {
    ViAttr attribute;
    Form form;
    bool manager, writable;
    ViUInt16 interface; /* the only one that has it, 0 = every one */
} ATTRIBUTES[] = {
    {0xBFFF0001, TEXT, false, false, 0},           /* RSRC_CLASS */
    {0xBFFF0002, TEXT, false, false, 0},           /* RSRC_NAME */
    {0x3FFF0003, FOUR, true, false, 0},            /* RSRC_IMPL_VERSION */
    {0x3FFF0004, FOUR, false, false, 0},           /* RSRC_LOCK_STATE */
    {0x3FFF000A, POINTER, true, true, 0},          /* USER_DATA_64 */
    {0x3FFF0016, TWO, false, true, 0},             /* SEND_END_EN */
    {0x3FFF0018, ONE, false, true, 0},             /* TERMCHAR */
    {0x3FFF001A, FOUR, false, true, 0},            /* TMO_VALUE */
    {0x3FFF001C, TWO, false, true, 0},             /* IO_PROT */
    {0x3FFF0036, TWO, false, true, 0},             /* SUPPRESS_END_EN */
    {0x3FFF0038, TWO, false, true, 0},             /* TERMCHAR_EN */
    {0x3FFF00C4, FOUR, false, false, 0},           /* RM_SESSION */
    {0x3FFF00D9, TWO, false, false, VI_INTF_USB},  /* MANF_ID */
    {0x3FFF00DF, TWO, false, false, VI_INTF_USB},  /* MODEL_CODE */
    {0x3FFF0170, FOUR, true, false, 0},            /* RSRC_SPEC_VERSION */
    {0x3FFF0171, TWO, false, false, 0},            /* INTF_TYPE */
    {0x3FFF0172, TWO, false, false, VI_INTF_GPIB}, /* GPIB_PRIMARY_ADDR */
    {0x3FFF0173, TWO, false, false, VI_INTF_GPIB}, /* GPIB_SECONDARY_ADDR */
    {0xBFFF0174, TEXT, true, false, 0},            /* RSRC_MANF_NAME */
    {0x3FFF0176, TWO, false, false, 0},            /* INTF_NUM */
    {0x3FFF019F, TWO, false, false, VI_INTF_USB},  /* 4882_COMPLIANT */
    {0xBFFF01A0, TEXT, false, false, VI_INTF_USB}, /* USB_SERIAL_NUM */
    {0x3FFF01A1, TWO, false, false, VI_INTF_USB},  /* USB_INTFC_NUM */
};

static int known(const Object *one, ViAttr attribute)
{
    for (size_t each = 0; each < sizeof ATTRIBUTES / sizeof *ATTRIBUTES; each++)
        if (ATTRIBUTES[each].attribute == attribute
            && (one->kind == MANAGER ? ATTRIBUTES[each].manager
                                     : ATTRIBUTES[each].interface == 0 || ATTRIBUTES[each].interface == one->address.interface))
            return (int)each;
    return -1;
}

static const char *text_of(const Object *one, ViAttr attribute)
{
    switch (attribute) {
    case 0xBFFF0001: return "INSTR";
    case 0xBFFF0002: return one->address.name;
    case 0xBFFF01A0: return one->address.serial;
    default: return "AICALIB simulated VISA";
    }
}

static ViAttrState value_of(const Object *one, ViAttr attribute)
{
    switch (attribute) {
    case 0x3FFF0003: return 1;
    case 0x3FFF0004: return one->locks > 0 ? VI_EXCLUSIVE_LOCK : VI_NO_LOCK;
    case 0x3FFF000A: return one->user_data;
    case 0x3FFF0016: return one->sends_end;
    case 0x3FFF0018: return one->terminator;
    case 0x3FFF001A: return one->timeout;
    case 0x3FFF001C: return one->protocol;
    case 0x3FFF0036: return one->suppresses_end;
    case 0x3FFF0038: return one->ends_at_terminator;
    case 0x3FFF00C4: return one->manager;
    case 0x3FFF00D9: return one->address.first;
    case 0x3FFF00DF: return one->address.second;
    case 0x3FFF0170: return SPEC_VERSION;
    case 0x3FFF0171: return one->address.interface;
    case 0x3FFF0172: return one->address.first;
    case 0x3FFF0173: return one->address.second;
    case 0x3FFF0176: return one->address.board;
    case 0x3FFF019F: return 1;
    default: return one->address.number;
    }
}

EXPORT ViStatus viGetAttribute(uint32_t vi, ViAttr attribute, void *state)
{
    Object *one = begin_any(vi);
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    int at = one->kind == FINDLIST ? -1 : known(one, attribute);
    if (at < 0 || state == NULL)
        return finish(one, at < 0 ? VI_ERROR_NSUP_ATTR : VI_ERROR_USER_BUF);
    ViAttrState value = ATTRIBUTES[at].form == TEXT ? 0 : value_of(one, attribute);
    uint8_t small = (uint8_t)value;
    uint16_t middle = (uint16_t)value;
    uint32_t large = (uint32_t)value;
    switch (ATTRIBUTES[at].form) {
    case TEXT: strcpy(state, text_of(one, attribute)); break;
    case ONE: memcpy(state, &small, sizeof small); break;
    case TWO: memcpy(state, &middle, sizeof middle); break;
    case FOUR: memcpy(state, &large, sizeof large); break;
    case POINTER: memcpy(state, &value, sizeof value); break;
    }
    return finish(one, VI_SUCCESS);
}

EXPORT ViStatus viSetAttribute(uint32_t vi, ViAttr attribute, ViAttrState state)
{
    Object *one = begin_any(vi);
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    int at = one->kind == FINDLIST ? -1 : known(one, attribute);
    if (at < 0)
        return finish(one, VI_ERROR_NSUP_ATTR);
    if (!ATTRIBUTES[at].writable)
        return finish(one, VI_ERROR_ATTR_READONLY);
    bool flag = attribute == 0x3FFF0016 || attribute == 0x3FFF0036 || attribute == 0x3FFF0038;
    if ((flag && state > 1) || (attribute == 0x3FFF0018 && state > 0xFF) || (attribute == 0x3FFF001A && state > VI_TMO_INFINITE)
        || (attribute == 0x3FFF001C && state != VI_PROT_NORMAL && state != VI_PROT_USBTMC_VENDOR))
        return finish(one, VI_ERROR_NSUP_ATTR_STATE);
    switch (attribute) {
    case 0x3FFF000A: one->user_data = state; break;
    case 0x3FFF0016: one->sends_end = state; break;
    case 0x3FFF0018: one->terminator = (uint8_t)state; break;
    case 0x3FFF001A: one->timeout = (uint32_t)state; break;
    case 0x3FFF001C: one->protocol = (ViUInt16)state; break;
    case 0x3FFF0036: one->suppresses_end = state; break;
    default: one->ends_at_terminator = state; break;
    }
    return finish(one, VI_SUCCESS);
}

EXPORT ViStatus viStatusDesc(uint32_t vi, ViStatus status, char *text)
{
    (void)vi;
    if (text == NULL)
        return VI_ERROR_USER_BUF;
    for (size_t each = 0; each < sizeof DESCRIPTIONS / sizeof *DESCRIPTIONS; each++)
        if (DESCRIPTIONS[each].status == status) {
            strcpy(text, DESCRIPTIONS[each].text);
            return VI_SUCCESS;
        }
    sprintf(text, "Unknown status 0x%08X.", (unsigned)status);
    return VI_WARN_UNKNOWN_STATUS;
}

/* Events: none is ever enabled, so there is none to disable or discard. */

static ViStatus nothing_to_do(ViSession vi, ViStatus status)
{
    Object *one = take_any(vi);
    if (one == NULL)
        return VI_ERROR_INV_OBJECT;
    give(one);
    return status;
}

EXPORT ViStatus viDisableEvent(ViSession vi, ViEventType event, ViUInt16 mechanism)
{
    (void)event, (void)mechanism;
    return nothing_to_do(vi, VI_SUCCESS_EVENT_DIS);
}

EXPORT ViStatus viDiscardEvents(ViSession vi, ViEventType event, ViUInt16 mechanism)
{
    (void)event, (void)mechanism;
    return nothing_to_do(vi, VI_SUCCESS_QUEUE_EMPTY);
}

/* What this library does not do. Further arguments are not looked at. */
#define NOT_SUPPORTED(name)                           \
    EXPORT ViStatus name(ViSession vi)                \
    {                                                 \
        return nothing_to_do(vi, VI_ERROR_NSUP_OPER); \
    }
NOT_SUPPORTED(viAssertIntrSignal)
NOT_SUPPORTED(viAssertTrigger)
NOT_SUPPORTED(viAssertUtilSignal)
NOT_SUPPORTED(viBufRead)
NOT_SUPPORTED(viBufWrite)
NOT_SUPPORTED(viEnableEvent)
NOT_SUPPORTED(viFlush)
NOT_SUPPORTED(viGpibCommand)
NOT_SUPPORTED(viGpibControlATN)
NOT_SUPPORTED(viGpibControlREN)
NOT_SUPPORTED(viGpibPassControl)
NOT_SUPPORTED(viGpibSendIFC)
NOT_SUPPORTED(viIn16)
NOT_SUPPORTED(viIn32)
NOT_SUPPORTED(viIn64)
NOT_SUPPORTED(viIn8)
NOT_SUPPORTED(viInstallHandler)
NOT_SUPPORTED(viMapAddress)
NOT_SUPPORTED(viMapTrigger)
NOT_SUPPORTED(viMemAlloc)
NOT_SUPPORTED(viMemFree)
NOT_SUPPORTED(viMove)
NOT_SUPPORTED(viMoveAsync)
NOT_SUPPORTED(viOut16)
NOT_SUPPORTED(viOut32)
NOT_SUPPORTED(viOut64)
NOT_SUPPORTED(viOut8)
NOT_SUPPORTED(viReadAsync)
NOT_SUPPORTED(viReadToFile)
NOT_SUPPORTED(viSetBuf)
NOT_SUPPORTED(viTerminate)
NOT_SUPPORTED(viUninstallHandler)
NOT_SUPPORTED(viUnmapAddress)
NOT_SUPPORTED(viUnmapTrigger)
NOT_SUPPORTED(viUsbControlIn)
NOT_SUPPORTED(viUsbControlOut)
NOT_SUPPORTED(viVxiCommandQuery)
NOT_SUPPORTED(viWaitOnEvent)
NOT_SUPPORTED(viWriteAsync)
NOT_SUPPORTED(viWriteFromFile)
