#include "core/flow/pieces.h"

#include "core/flow/json.h"
#include "core/flow/position.h"

#include <algorithm>
#include <charconv>

namespace pgbraid::core {
namespace {

constexpr int hash_digits = 16;

std::uint64_t fnv1a(std::string_view text)
{
	std::uint64_t hash = 0xcbf29ce484222325;
	for (char c : text)
		hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
	return hash;
}

template <typename T>
bool parse(std::string_view text, T &value, int base = 10)
{
	const char *end = text.data() + text.size();
	auto [stop, failure] = std::from_chars(text.data(), end, value, base);
	return failure == std::errc{} && stop == end;
}

} // namespace

std::uint64_t Division::begin(std::uint32_t piece) const noexcept
{
	std::uint64_t each = (size + count - 1) / count;
	return std::min(size, each * (piece - 1));
}

Division divide(std::string_view payload, std::size_t most)
{
	std::uint64_t size = payload.size(), pieces = most == 0 ? size : (size + most - 1) / most;
	return {size, fnv1a(payload), static_cast<std::uint32_t>(std::max<std::uint64_t>(pieces, 1))};
}

void append_piece_headers(Bytes &to, const Division &division, std::uint32_t piece)
{
	to.append("Pgbraid-Part: ");
	append_json_integer(to, piece);
	to.append('/');
	append_json_integer(to, division.count);
	to.append("\r\nPgbraid-Size: ");
	append_json_integer(to, static_cast<std::int64_t>(division.size));
	to.append("\r\nPgbraid-Hash: ");
	append_hex(to, division.hash, hash_digits);
	to.append("\r\n");
}

std::optional<Piece> parse_piece(std::string_view part, std::string_view size, std::string_view hash)
{
	Piece piece;
	auto slash = part.find('/');
	if (slash == part.npos || !parse(part.substr(0, slash), piece.number) ||
		!parse(part.substr(slash + 1), piece.division.count) || !parse(size, piece.division.size) ||
		hash.size() != hash_digits || !parse(hash, piece.division.hash, 16))
		return std::nullopt;
	if (piece.number < 1 || piece.number > piece.division.count)
		return std::nullopt;
	return piece;
}

} // namespace pgbraid::core
