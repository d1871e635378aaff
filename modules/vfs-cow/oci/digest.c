/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>
#include <string.h>
#include <sys/utsname.h>

#include "oci.h"

struct digest *digest_new(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(c);
		c = NULL;
	}
	return (struct digest *)c;
}

void digest_add(struct digest *d, const void *bytes, size_t n)
{
	EVP_DigestUpdate((EVP_MD_CTX *)d, bytes, n);
}

void digest_end(struct digest *d, char out[DIGEST_MAX])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int at = snprintf(out, DIGEST_MAX, "sha256:");

	EVP_DigestFinal_ex((EVP_MD_CTX *)d, sum, &len);
	EVP_MD_CTX_free((EVP_MD_CTX *)d);
	for (unsigned i = 0; i < len && at + 2 < DIGEST_MAX; i++)
		at += snprintf(out + at, (size_t)(DIGEST_MAX - at), "%02x", sum[i]);
}

bool digest_valid(const char *text)
{
	return strlen(text) == 71 && strncmp(text, "sha256:", 7) == 0 &&
	       strspn(text + 7, "0123456789abcdef") == 64;
}

const char *oci_architecture(void)
{
	static struct utsname u;

	if (uname(&u) < 0)
		return "";
	return strcmp(u.machine, "x86_64") == 0    ? "amd64"
	       : strcmp(u.machine, "aarch64") == 0 ? "arm64"
	                                           : u.machine;
}
