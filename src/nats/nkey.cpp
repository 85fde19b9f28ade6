#include "nats/nkey.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <optional>
#include <vector>

namespace pgbraid::nats {
namespace {

using core::Error;
using core::Result;

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::uint8_t seed_prefix = 18 << 3; // 'S'
constexpr std::uint8_t user_prefix = 20 << 3; // 'U'
constexpr std::size_t key_size = 32;

std::vector<std::uint8_t> base32_decode(std::string_view text)
{
	std::vector<std::uint8_t> bytes;
	std::uint32_t buffer = 0;
	int bits = 0;
	for (char c : text) {
		auto value = alphabet.find(c);
		if (value == std::string_view::npos)
			return {};
		buffer = buffer << 5 | static_cast<std::uint32_t>(value);
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			bytes.push_back(static_cast<std::uint8_t>(buffer >> bits));
		}
	}
	return bytes;
}

std::string base32_encode(const std::vector<std::uint8_t> &bytes)
{
	std::string text;
	std::uint32_t buffer = 0;
	int bits = 0;
	for (auto byte : bytes) {
		buffer = buffer << 8 | byte;
		for (bits += 8; bits >= 5; bits -= 5)
			text += alphabet[buffer >> (bits - 5) & 31];
	}
	if (bits > 0)
		text += alphabet[buffer << (5 - bits) & 31];
	return text;
}

std::uint16_t crc16(const std::uint8_t *bytes, std::size_t size)
{
	std::uint16_t crc = 0;
	for (std::size_t i = 0; i < size; i++) {
		crc ^= static_cast<std::uint16_t>(bytes[i] << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = static_cast<std::uint16_t>(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

// The raw private key of a seed: two bytes of prefixes, 32 of key, two of checksum.
std::optional<std::array<std::uint8_t, key_size>> raw_key(std::string_view seed)
{
	auto bytes = base32_decode(seed);
	std::optional<std::array<std::uint8_t, key_size>> key;
	if (bytes.size() == key_size + 4) {
		auto kind = static_cast<std::uint8_t>((bytes[0] & 7) << 5 | bytes[1] >> 3);
		auto crc = static_cast<std::uint16_t>(bytes[key_size + 2] | bytes[key_size + 3] << 8);
		if ((bytes[0] & 0xf8) == seed_prefix && kind == user_prefix && crc == crc16(bytes.data(), key_size + 2)) {
			key.emplace();
			std::copy_n(bytes.begin() + 2, key_size, key->begin());
		}
	}
	OPENSSL_cleanse(bytes.data(), bytes.size());
	return key;
}

} // namespace

Result<std::string> public_key(std::string_view seed)
{
	auto raw = raw_key(seed);
	if (!raw)
		return Error{
			"22023", "not the seed of a NATS user key", {}, "Such a seed begins with SU and has 58 characters."};
	std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
		EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, raw->data(), raw->size()), EVP_PKEY_free);
	OPENSSL_cleanse(raw->data(), raw->size());
	std::vector<std::uint8_t> bytes(1 + key_size);
	bytes[0] = user_prefix;
	std::size_t size = key_size;
	if (!key || EVP_PKEY_get_raw_public_key(key.get(), bytes.data() + 1, &size) != 1)
		return Error{"XX000", "OpenSSL could not derive the public key of a NATS seed"};
	auto crc = crc16(bytes.data(), bytes.size());
	bytes.push_back(static_cast<std::uint8_t>(crc));
	bytes.push_back(static_cast<std::uint8_t>(crc >> 8));
	return base32_encode(bytes);
}

Result<std::string> public_key_of_file(const std::string &path)
{
	std::ifstream file(path);
	std::string line;
	while (std::getline(file, line)) {
		auto begin = line.find_first_not_of(" \t");
		if (begin == std::string::npos || line.compare(begin, 2, "SU") != 0)
			continue;
		auto end = line.find_last_not_of(" \t\r");
		auto key = public_key(std::string_view(line).substr(begin, end - begin + 1));
		OPENSSL_cleanse(line.data(), line.size());
		return key;
	}
	if (file.eof())
		return Error{"22023", "no NATS seed in file \"" + path + "\"", {}, "It must hold a line that begins with SU."};
	return Error{"58P01", "could not read the NATS seed file \"" + path + "\""};
}

} // namespace pgbraid::nats
