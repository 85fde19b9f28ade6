// NATS subjects from a template: "pgflow.{database}.{schema}.{table}".
#pragma once
#include "core/base/bytes.h"
#include "core/base/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::core {

// Values for the placeholders. A null data() pointer in pattern() stands for "any", and becomes the wildcard '*'.
struct SubjectValues {
	std::string_view database, schema, table, op, key;
	std::string_view prefix = {}; // of a logical message
};

// What the messages are of: it decides which placeholders there are.
enum class SubjectKind { row, message, transaction };

class SubjectTemplate {
public:
	// 22023 with a hint for: an unknown or unclosed placeholder, an empty token, a wildcard, white space or a control
	// character, a leading '$' (reserved by NATS), text that is not UTF-8 (streams are configured in JSON), more than
	// 512 bytes besides the placeholders or more than 16 of these (a subject then fits the server's line of 4096).
	static Result<SubjectTemplate> parse(std::string_view text, SubjectKind kind = SubjectKind::row);

	bool uses_op() const noexcept { return uses(Part::op); }
	bool uses_key() const noexcept { return uses(Part::key); }

	// The subject of one event. Values are escaped (see append_token), so that none can add a token or a wildcard.
	void render(Bytes &to, const SubjectValues &values) const;

	// The subject pattern that a stream must listen on: as render(), with '*' for each TOKEN that has a placeholder
	// whose value is absent (data() == nullptr).
	std::string pattern(const SubjectValues &values) const;

private:
	enum class Part : unsigned char { literal, database, schema, table, op, key, prefix };
	struct Piece {
		Part part;
		std::string literal;
	};
	static std::optional<Part> part_named(std::string_view name, SubjectKind kind);
	static std::string_view value_of(Part part, const SubjectValues &values) noexcept;
	bool uses(Part part) const noexcept;

	std::vector<Piece> pieces_;
};

// Percent-encodes '.', '*', '>', '%', white space, control bytes, a leading '$' (no value can address the server's own
// subjects) and bytes that are not UTF-8; an empty value becomes "%" alone (so that no token is ever empty and nothing
// else maps to it). A value whose escaped form exceeds 128 bytes is cut on a character
// boundary and ends in "%~" and 16 hex digits of its FNV-1a hash, so that no subject outgrows the protocol's line.
void append_token(Bytes &to, std::string_view value);

// Does a stream that listens on `pattern` receive everything that matches `subject` (itself possibly a pattern)?
bool covers(std::string_view pattern, std::string_view subject);

// A stream name: 1 to 255 bytes without white space, control bytes and . * > / \ % " ; else 22023 with a hint.
Status check_stream_name(std::string_view name);

// A legal stream name made of the parts, joined by '_' and escaped: for flows that name none. Different parts give
// different names.
std::string default_stream_name(std::string_view database, std::string_view flow);

} // namespace pgbraid::core
