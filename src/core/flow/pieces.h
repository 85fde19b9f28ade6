// A payload that is too large for a message goes as several: its bytes, cut into pieces of one size.
//
// Size and number of the pieces tell where the cuts are, so whoever finds a piece at the end of a stream can tell
// whether what it would send now goes on where that piece ends.
#pragma once
#include "core/base/bytes.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgbraid::core {

struct Division {
	std::uint64_t size = 0; // of the whole
	std::uint64_t hash = 0; // of the whole: FNV-1a, 64 bits
	std::uint32_t count = 0;
	bool operator==(const Division &) const = default;

	// The bytes of piece 1 ... count.
	std::uint64_t begin(std::uint32_t piece) const noexcept;
	std::uint64_t end(std::uint32_t piece) const noexcept { return begin(piece + 1); }
};

// As few pieces as there can be of at most `most` bytes (at least 1), all of one size but the last.
Division divide(std::string_view payload, std::size_t most);

// "Pgbraid-Part: 2/5", "Pgbraid-Size: <bytes>" and "Pgbraid-Hash: <16 hex digits>", each with its line end.
void append_piece_headers(Bytes &to, const Division &division, std::uint32_t piece);

struct Piece {
	Division division;
	std::uint32_t number = 0;
	bool operator==(const Piece &) const = default;
};

// From the values of the three headers; nothing if they are not ours.
std::optional<Piece> parse_piece(std::string_view part, std::string_view size, std::string_view hash);

} // namespace pgbraid::core
