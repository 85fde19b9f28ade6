// What takes the place of values that shall not leave the database.
#pragma once
#include "core/base/bytes.h"

#include <array>
#include <cstddef>
#include <string_view>

struct evp_md_ctx_st; // OpenSSL's EVP_MD_CTX

namespace pgbraid::core {

// HMAC-SHA-256 under one key. The same text always gives the same digits, and without the key nobody can tell which
// text gave them, however few there are to try.
class Hmac {
public:
	explicit Hmac(std::string_view key); // throws std::bad_alloc, or std::runtime_error where there is no SHA-256
	~Hmac();
	Hmac(const Hmac &) = delete;
	Hmac &operator=(const Hmac &) = delete;

	using Digest = std::array<unsigned char, 32>;
	Digest digest(std::string_view text) const; // allocates nothing

	// Appends 64 lower case hexadecimal digits. Allocates nothing.
	void append(Bytes &to, std::string_view text) const;

private:
	evp_md_ctx_st *inner_, *outer_, *scratch_; // the first two have read the key
};

// Appends `text` with all but its last `keep` characters as '*', one for each. `length_of` gives the size of the first
// character of a text; 0 counts as one byte.
void append_partly_hidden(Bytes &to, std::string_view text, std::size_t keep,
						  std::size_t (*length_of)(std::string_view text));

} // namespace pgbraid::core
