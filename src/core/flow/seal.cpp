#include "core/flow/seal.h"

namespace pgbraid::core {
namespace {

constexpr std::size_t tag_size = 16;
constexpr std::string_view digits_of_16 = "0123456789abcdef";

std::optional<std::string> bytes_of(std::string_view digits)
{
	std::string bytes;
	for (; digits.size() >= 2; digits.remove_prefix(2)) {
		std::size_t high = digits_of_16.find(digits[0]), low = digits_of_16.find(digits[1]);
		if (high == digits_of_16.npos || low == digits_of_16.npos)
			return std::nullopt;
		bytes += static_cast<char>(high << 4 | low);
	}
	return digits.empty() ? std::optional(std::move(bytes)) : std::nullopt;
}

} // namespace

// What is hashed for the tag and for the key begin differently.
std::string Seal::tag_of(std::string_view text) const
{
	Hmac::Digest digest = hmac_.digest("t" + std::string(text));
	return {digest.begin(), digest.begin() + tag_size};
}

void Seal::apply_key(std::string &text, std::string_view tag) const
{
	Hmac::Digest key{};
	for (std::size_t i = 0; i < text.size(); i++) {
		if (i % key.size() == 0)
			key = hmac_.digest("k" + std::string(tag) + std::to_string(i));
		text[i] = static_cast<char>(static_cast<unsigned char>(text[i]) ^ key[i % key.size()]);
	}
}

void Seal::append(Bytes &to, std::string_view text) const
{
	std::string tag = tag_of(text), hidden(text);
	apply_key(hidden, tag);
	for (char c : tag + hidden) {
		to.append(digits_of_16[static_cast<unsigned char>(c) >> 4]);
		to.append(digits_of_16[static_cast<unsigned char>(c) & 15]);
	}
}

std::optional<std::string> Seal::open(std::string_view digits) const
{
	auto bytes = bytes_of(digits);
	if (!bytes || bytes->size() < tag_size)
		return std::nullopt;
	std::string tag = bytes->substr(0, tag_size), text = bytes->substr(tag_size);
	apply_key(text, tag);
	return tag_of(text) == tag ? std::optional(std::move(text)) : std::nullopt;
}

} // namespace pgbraid::core
