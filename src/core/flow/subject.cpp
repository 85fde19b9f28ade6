#include "core/flow/subject.h"
#include "core/flow/json.h"
#include "core/flow/position.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace pgbraid::core {
namespace {

constexpr std::size_t most_literal = 512;
constexpr std::size_t most_placeholders = 16;
constexpr std::size_t most_token = 128;
constexpr std::size_t most_stream_name = 255;
constexpr std::size_t most_name_part = 127; // two of them and the '_' between
constexpr std::size_t hash_size = 18;		// "%~" and its digits
constexpr std::string_view not_in_token = ".*>";
constexpr std::string_view not_in_stream_name = ".*>/\\%\"";

bool is_blank_or_control(char c)
{
	return static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
}

bool is_word(std::string_view text)
{
	return std::all_of(text.begin(), text.end(), [](char c) {
		return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
	});
}

std::uint64_t fnv1a(std::string_view text)
{
	std::uint64_t hash = 0xcbf29ce484222325;
	for (char c : text)
		hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
	return hash;
}

// Appends the first character of `rest`, escaped if it has to be, and takes it off.
void append_character(Bytes &to, std::string_view &rest, std::string_view reserved)
{
	char c = rest.front();
	std::size_t length = utf8_length(rest);
	if (length == 0 || c == '%' || is_blank_or_control(c) || reserved.find(c) != std::string_view::npos) {
		to.append('%');
		append_hex(to, static_cast<unsigned char>(c), 2);
		length = 1;
	} else {
		to.append(rest.substr(0, length));
	}
	rest.remove_prefix(length);
}

void append_escaped(Bytes &to, std::string_view value, std::string_view reserved, std::size_t most)
{
	if (value.empty())
		return to.append('%');
	const std::size_t start = to.size();
	std::size_t cut = start; // where the hash goes if the value proves too long
	auto rest = value;
	if (value.front() == '$')
		append_character(to, rest, "$");
	while (!rest.empty() && to.size() - start <= most) {
		if (to.size() - start <= most - hash_size)
			cut = to.size();
		append_character(to, rest, reserved);
	}
	if (to.size() - start <= most)
		return;
	to.truncate(cut);
	to.append("%~");
	append_hex(to, fnv1a(value), 16);
}

// Letters and digits as they are, else '-' and two digits. Not '%': nats-server before 2.10 formats the name of a
// stream with printf, and its consumers then never get an acknowledgement through.
void append_name_part(Bytes &to, std::string_view part, bool keeps_underscore)
{
	const std::size_t start = to.size();
	for (char c : part) {
		if (is_word({&c, 1}) && (c != '_' || keeps_underscore)) {
			to.append(c);
		} else {
			to.append('-');
			append_hex(to, static_cast<unsigned char>(c), 2);
		}
	}
	if (to.size() - start <= most_name_part)
		return;
	to.truncate(start + most_name_part - hash_size);
	to.append("--");
	append_hex(to, fnv1a(part), 16);
}

Error invalid(std::string problem, const char *hint)
{
	return {"22023", "invalid subject template: " + std::move(problem), {}, hint};
}

// What is wrong with a template whose placeholders have been replaced by letters.
std::optional<Error> problem_of(std::string_view subject)
{
	constexpr const char *form = "A subject is a list of names separated by single dots, such as \"flow.{table}\".";
	if (subject.empty() || subject.front() == '.' || subject.back() == '.' || subject.find("..") != subject.npos)
		return invalid("it has an empty token", form);
	if (subject.front() == '$')
		return invalid("it begins with \"$\"", "NATS reserves such subjects for itself.");
	if (std::any_of(subject.begin(), subject.end(), is_blank_or_control))
		return invalid("it has white space or a control character", form);
	if (subject.find_first_of("*>") != subject.npos)
		return invalid("it has a wildcard", "Messages go to one subject each; use placeholders to tell them apart.");
	for (; !subject.empty(); subject.remove_prefix(utf8_length(subject)))
		if (utf8_length(subject) == 0)
			return invalid("it is not valid UTF-8", "Keep to UTF-8, or to ASCII.");
	return std::nullopt;
}

const char *placeholders_of(SubjectKind kind)
{
	switch (kind) {
		case SubjectKind::row: break;
		case SubjectKind::message: return "The placeholders are {database} and {prefix}.";
		case SubjectKind::transaction: return "The only placeholder is {database}.";
	}
	return "The placeholders are {database}, {schema}, {table}, {op} and {key}.";
}

std::string_view take_token(std::string_view &subject)
{
	auto dot = subject.find('.');
	auto token = subject.substr(0, dot);
	subject.remove_prefix(dot == std::string_view::npos ? subject.size() : dot + 1);
	return token;
}

} // namespace

std::optional<SubjectTemplate::Part> SubjectTemplate::part_named(std::string_view name, SubjectKind kind)
{
	constexpr std::pair<std::string_view, Part> names[] = {
		{"database", Part::database}, {"schema", Part::schema}, {"table", Part::table}, {"op", Part::op},
		{"key", Part::key},			  {"prefix", Part::prefix},
	};
	auto is_known = [kind](Part part) {
		if (part == Part::database)
			return true;
		return (part == Part::prefix ? SubjectKind::message : SubjectKind::row) == kind;
	};
	for (const auto &[known, part] : names)
		if (name == known && is_known(part))
			return part;
	return std::nullopt;
}

Result<SubjectTemplate> SubjectTemplate::parse(std::string_view text, SubjectKind kind)
{
	SubjectTemplate result;
	std::string sample;
	std::size_t literals = 0, placeholders = 0;
	while (!text.empty()) {
		auto brace = std::min(text.find_first_of("{}"), text.size());
		if (brace > 0) {
			sample += text.substr(0, brace);
			literals += brace;
			result.pieces_.push_back({Part::literal, std::string{text.substr(0, brace)}});
			text.remove_prefix(brace);
			continue;
		}
		auto close = text.find('}');
		if (close == 0 || close == text.npos)
			return invalid("it has an unpaired brace", "Placeholders are written as {table}.");
		auto name = text.substr(1, close - 1);
		auto part = part_named(name, kind);
		if (!part)
			return invalid("unknown placeholder {" + std::string{name} + "}", placeholders_of(kind));
		sample += 'x';
		placeholders++;
		result.pieces_.push_back({*part, {}});
		text.remove_prefix(close + 1);
	}
	if (literals > most_literal || placeholders > most_placeholders)
		return invalid("it is too long", "It may have 512 bytes and 16 placeholders.");
	if (auto problem = problem_of(sample))
		return *problem;
	return result;
}

bool SubjectTemplate::uses(Part part) const noexcept
{
	return std::any_of(pieces_.begin(), pieces_.end(), [part](const Piece &piece) { return piece.part == part; });
}

std::string_view SubjectTemplate::value_of(Part part, const SubjectValues &values) noexcept
{
	switch (part) {
		case Part::database: return values.database;
		case Part::schema: return values.schema;
		case Part::table: return values.table;
		case Part::op: return values.op;
		case Part::key: return values.key;
		case Part::prefix: return values.prefix;
		case Part::literal: break;
	}
	return {};
}

void SubjectTemplate::render(Bytes &to, const SubjectValues &values) const
{
	for (const Piece &piece : pieces_) {
		if (piece.part == Part::literal)
			to.append(piece.literal);
		else
			append_token(to, value_of(piece.part, values));
	}
}

std::string SubjectTemplate::pattern(const SubjectValues &values) const
{
	// '>' cannot stand in a rendered subject, so here it marks a token with a value that is absent.
	Bytes marked;
	for (const Piece &piece : pieces_) {
		if (piece.part == Part::literal)
			marked.append(piece.literal);
		else if (auto value = value_of(piece.part, values); value.data() != nullptr)
			append_token(marked, value);
		else
			marked.append('>');
	}
	std::string result;
	for (auto rest = marked.view(); !rest.empty();) {
		auto token = take_token(rest);
		if (!result.empty())
			result += '.';
		result += token.find('>') == token.npos ? token : "*";
	}
	return result;
}

void append_token(Bytes &to, std::string_view value)
{
	if (!value.empty() && value.size() <= most_token && is_word(value))
		to.append(value);
	else
		append_escaped(to, value, not_in_token, most_token);
}

bool covers(std::string_view pattern, std::string_view subject)
{
	if (subject.empty())
		return false;
	while (!pattern.empty() && !subject.empty()) {
		auto expected = take_token(pattern), token = take_token(subject);
		if (expected == ">" && pattern.empty())
			return true;
		if (expected == "*" ? token == ">" : token != expected)
			return false;
	}
	return pattern.empty() && subject.empty();
}

Status check_stream_name(std::string_view name)
{
	constexpr const char *hint =
		"It has 1 to 255 bytes and no white space, control characters, or any of . * > / \\ % and quotes.";
	bool legal = !name.empty() && name.size() <= most_stream_name &&
				 std::none_of(name.begin(), name.end(), is_blank_or_control) &&
				 name.find_first_of(not_in_stream_name) == name.npos;
	if (!legal)
		return Error{"22023", "invalid stream name \"" + std::string{name} + "\"", {}, hint};
	return Nothing{};
}

std::string default_stream_name(std::string_view database, std::string_view flow)
{
	Bytes name;
	append_name_part(name, database, false);
	name.append('_');
	append_name_part(name, flow, true);
	return std::string{name.view()};
}

} // namespace pgbraid::core
