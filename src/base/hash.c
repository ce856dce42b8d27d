#include "src/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/mem.h"

/* libcrypto crashes when memory is short while it starts, so it is started only when there is
 * enough. */
static int libcrypto_init(struct err *e)
{
    enum { INIT_BYTES = 1 << 20 };
    static atomic_bool ready;
    if (ready) return 0;
    void *probe = mem_alloc(INIT_BYTES, 1, e);
    if (!probe) return e->code;
    mem_free(probe);
    ready = true;
    return 0;
}

int sha256_begin(struct sha256 *h, struct err *e)
{
    int code = libcrypto_init(e);
    if (code) return code;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!c || EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        return err_set(e, "libcrypto offers no SHA-256");
    }
    h->state = c;
    return 0;
}

void sha256_add(struct sha256 *h, const void *bytes, size_t n)
{
    CHECK(EVP_DigestUpdate(h->state, bytes, n) == 1);
}

void sha256_end(struct sha256 *h, uint8_t digest[SHA256_BYTES])
{
    CHECK(EVP_DigestFinal_ex(h->state, digest, NULL) == 1);
    EVP_MD_CTX_free(h->state);
    h->state = NULL;
}

int sha256_of(uint8_t digest[SHA256_BYTES], const void *bytes, size_t n, struct err *e)
{
    struct sha256 h;
    int code = sha256_begin(&h, e);
    if (code) return code;
    sha256_add(&h, bytes, n);
    sha256_end(&h, digest);
    return 0;
}

int sha256_file(uint8_t digest[SHA256_BYTES], const char *path, const struct watch *w,
                struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, "%s", path);
    struct sha256 h = { 0 };
    struct stat st = { 0 };
    size_t size = 1 << 20;
    double done = 0;
    if (fstat(fd, &st) != 0) st.st_size = 0; /* only the progress needs it */
    char *buf = mem_alloc(size, 1, e);
    int code = buf ? sha256_begin(&h, e) : e->code;
    while (!code) {
        ssize_t n = read(fd, buf, size);
        if (n < 0 && errno == EINTR) continue;
        code = watch_step(w, done, (double)st.st_size, e);
        if (code) break;
        if (n < 0) code = err_errno(e, "%s", path);
        if (n <= 0) break;
        sha256_add(&h, buf, (size_t)n);
        done += (double)n;
    }
    if (h.state) sha256_end(&h, digest);
    mem_free(buf);
    close(fd);
    return code;
}

void hex_of(char out[SHA256_HEX], const uint8_t digest[SHA256_BYTES])
{
    for (size_t i = 0; i < SHA256_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
