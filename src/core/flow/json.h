// JSON text, written straight into a buffer: no tree, no allocation per value. Numbers and strings come out as
// PostgreSQL's to_jsonb prints them.
#pragma once
#include "core/base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pgbraid::core {

// `text` in quotes, escaped as PostgreSQL's escape_json does (RFC 8259; control bytes as \uXXXX, \b \f \n \r \t short;
// 0x7f and bytes above it verbatim). The bulk without special bytes is copied by runs.
void append_json_string(Bytes &to, std::string_view text);

// The same in ASCII alone, other characters as \uXXXX: for text in UTF-8 among text in another encoding. What is no
// UTF-8 becomes U+FFFD.
void append_json_string_in_ascii(Bytes &to, std::string_view utf8);

void append_json_integer(Bytes &to, std::int64_t value);

// The text that an output function of int, float or numeric printed, as to_jsonb shows it: plain decimals for an
// exponent ("1e-07" -> 0.0000001, "1.5e+20" -> 150000000000000000000), no minus before a zero, and NaN, Infinity,
// -Infinity (like whatever else is no number) as strings. Digits are never changed otherwise ("1.50" stays).
void append_json_number(Bytes &to, std::string_view text);

// A value of type json: valid JSON text, kept as it is except that line breaks and tabs between its tokens become
// blanks (inside strings JSON allows none), so that one event stays on one line.
void append_json_verbatim(Bytes &to, std::string_view json);

// "2024-05-22T22:12:00.123456Z" from microseconds since 2000-01-01 00:00 UTC (PostgreSQL's TimestampTz), always six
// decimals, without quotes; any int64 gives a valid text (the proleptic Gregorian calendar; years beyond 9999 get as
// many digits as they need; 0000 is 1 BC, -0001 the year before it).
void append_timestamp(Bytes &to, std::int64_t microseconds);

// As to_jsonb shows a timestamp, without the quotes: no fraction where there is none, and no zeros at its end. False,
// and nothing appended, if the year has not four digits: PostgreSQL knows those best, and the infinite ones.
bool append_iso_timestamp(Bytes &to, std::int64_t microseconds);
bool append_iso_date(Bytes &to, std::int64_t days);

// The length of the well-formed UTF-8 sequence that `text` begins with, 0 if it begins with none.
std::size_t utf8_length(std::string_view text);

// The beginning of a well-formed text, of `most` bytes or a little less.
std::string_view utf8_prefix(std::string_view text, std::size_t most);

// Replaces each byte that does not belong to a well-formed UTF-8 sequence by U+FFFD, in place from `from` to the end:
// for databases whose encoding is SQL_ASCII. No copy is made when all is well formed.
void repair_utf8(Bytes &bytes, std::size_t from);

} // namespace pgbraid::core
