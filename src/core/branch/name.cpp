#include "core/branch/name.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace pgbraid::core::branch {

namespace {

constexpr std::array<std::string_view, 4> kind_names = {"branch", "snapshot", "spare", "trash"};

constexpr std::size_t hash_digits = 16;

bool passes(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
		   c == '-';
}

bool is_control(char c)
{
	const auto byte = static_cast<unsigned char>(c);
	return byte < 0x20 || byte == 0x7f;
}

// FNV-1a, 64 bits (RFC 9923), of the parts with a zero byte after each.
std::uint64_t hash_of(std::initializer_list<std::string_view> parts)
{
	std::uint64_t hash = 0xcbf29ce484222325U;
	const auto add = [&](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3U; };
	for (const std::string_view part : parts) {
		for (const char c : part)
			add(static_cast<unsigned char>(c));
		add(0);
	}
	return hash;
}

std::string hex(std::uint64_t value)
{
	std::array<char, hash_digits + 1> digits{};
	std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(value));
	return digits.data();
}

std::string suffix_of(Kind kind, std::uint32_t number)
{
	std::string suffix;
	if (kind != Kind::branch)
		suffix = "@" + std::string{name_of(kind)};
	return number == 0 ? suffix : suffix + std::to_string(number);
}

// A part of UTF-8 that is cut begins no character that it does not end.
std::string_view cut(std::string_view text, std::size_t most)
{
	if (text.size() <= most)
		return text;
	while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0U) == 0x80U)
		most--;
	return text.substr(0, most);
}

} // namespace

std::string_view name_of(Kind kind) noexcept
{
	return kind_names[static_cast<std::size_t>(kind)];
}

std::optional<Kind> kind_named(std::string_view name) noexcept
{
	const auto *found = std::find(kind_names.begin(), kind_names.end(), name);
	if (found == kind_names.end())
		return std::nullopt;
	return static_cast<Kind>(found - kind_names.begin());
}

Result<std::string> checked_name(std::string name)
{
	const auto refuse = [](std::string message) {
		return Error{.sqlstate = "42602",
					 .message = std::move(message),
					 .hint = "Names have 1 to 200 bytes, no control characters, and no space at an end."};
	};
	if (name.empty())
		return refuse("the name of a branch or snapshot is empty");
	if (name.size() > longest_name)
		return refuse("the name of a branch or snapshot has " + std::to_string(name.size()) + " bytes");
	if (std::any_of(name.begin(), name.end(), is_control))
		return refuse("the name of a branch or snapshot has control characters");
	if (name.front() == ' ' || name.back() == ' ')
		return refuse("the name \"" + name + "\" begins or ends with a space");
	return name;
}

std::string database_name(std::string_view family, Kind kind, std::string_view name, std::uint32_t number)
{
	const std::string suffix = suffix_of(kind, number);
	std::string slug{name};
	std::replace_if(
		slug.begin(), slug.end(), [](char c) { return !passes(c); }, '_');
	std::string whole = std::string{family} + "@" + slug + suffix;
	if (slug == name && family.find_first_of("@~") == std::string_view::npos && whole.size() <= longest_database_name)
		return whole;
	const std::string tail = "~" + hex(hash_of({family, suffix, name})) + suffix;
	const std::size_t room = longest_database_name - tail.size();
	const std::string_view start = cut(family, room - std::min(slug.size(), room / 2) - 1);
	return std::string{start} + "@" + std::string{cut(slug, room - start.size() - 1)} + tail;
}

} // namespace pgbraid::core::branch
