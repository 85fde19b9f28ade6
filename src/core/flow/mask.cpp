#include "core/flow/mask.h"

#include <algorithm>
#include <array>
#include <new>
#include <openssl/evp.h>
#include <stdexcept>

namespace pgbraid::core {
namespace {

constexpr std::size_t block_size = 64; // of SHA-256
using Block = std::array<unsigned char, block_size>;
using Digest = Hmac::Digest;

void require(int result)
{
	if (result != 1)
		throw std::runtime_error("OpenSSL can't compute SHA-256");
}

EVP_MD_CTX *make_context()
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (context == nullptr)
		throw std::bad_alloc();
	return context;
}

// Keys longer than a block count as their digest (RFC 2104).
Block block_of(std::string_view key)
{
	Block block{};
	if (key.size() <= block_size)
		std::copy(key.begin(), key.end(), block.begin());
	else
		require(EVP_Digest(key.data(), key.size(), block.data(), nullptr, EVP_sha256(), nullptr));
	return block;
}

void begin(EVP_MD_CTX *context, Block block, unsigned char pad)
{
	for (unsigned char &byte : block)
		byte ^= pad;
	require(EVP_DigestInit_ex(context, EVP_sha256(), nullptr));
	require(EVP_DigestUpdate(context, block.data(), block.size()));
}

void finish(EVP_MD_CTX *scratch, const EVP_MD_CTX *begun, std::string_view text, Digest &digest)
{
	require(EVP_MD_CTX_copy_ex(scratch, begun));
	require(EVP_DigestUpdate(scratch, text.data(), text.size()));
	require(EVP_DigestFinal_ex(scratch, digest.data(), nullptr));
}

} // namespace

Hmac::Hmac(std::string_view key) : inner_(make_context()), outer_(make_context()), scratch_(make_context())
{
	begin(inner_, block_of(key), 0x36);
	begin(outer_, block_of(key), 0x5c);
}

Hmac::~Hmac()
{
	EVP_MD_CTX_free(inner_);
	EVP_MD_CTX_free(outer_);
	EVP_MD_CTX_free(scratch_);
}

Hmac::Digest Hmac::digest(std::string_view text) const
{
	Digest digest;
	finish(scratch_, inner_, text, digest);
	finish(scratch_, outer_, {reinterpret_cast<const char *>(digest.data()), digest.size()}, digest);
	return digest;
}

void Hmac::append(Bytes &to, std::string_view text) const
{
	char *at = to.reserve(2 * sizeof(Digest));
	for (unsigned char byte : digest(text)) {
		*at++ = "0123456789abcdef"[byte >> 4];
		*at++ = "0123456789abcdef"[byte & 15];
	}
	to.commit(at);
}

void append_partly_hidden(Bytes &to, std::string_view text, std::size_t keep,
						  std::size_t (*length_of)(std::string_view text))
{
	auto step = [&](std::string_view &rest) {
		rest.remove_prefix(std::clamp(length_of(rest), std::size_t{1}, rest.size()));
	};
	std::size_t characters = 0;
	for (auto rest = text; !rest.empty(); characters++)
		step(rest);
	for (; characters > keep; characters--) {
		step(text);
		to.append('*');
	}
	to.append(text);
}

} // namespace pgbraid::core
