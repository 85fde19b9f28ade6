// What one flow publishes between two breaks of its history. In message ids:
// "<database>-<flow>-<timeline>-<generation>".
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgbraid::core {

struct Epoch {
	std::uint32_t database = 0;	 // oid
	std::int64_t flow = 0;		 // number; not negative
	std::uint32_t timeline = 0;	 // of WAL: promotion and point-in-time recovery begin a new one
	std::int64_t generation = 0; // of the flow's slot: one made anew begins another

	bool operator==(const Epoch &) const = default;

	bool is_same_flow(const Epoch &other) const { return database == other.database && flow == other.flow; }

	// Of the same flow: has this one begun after the other?
	bool is_later_than(const Epoch &other) const
	{
		return timeline != other.timeline ? timeline > other.timeline : generation > other.generation;
	}
};

std::string to_text(const Epoch &epoch);
std::optional<Epoch> parse_epoch(std::string_view text);

} // namespace pgbraid::core
