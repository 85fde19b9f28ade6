// Where an event stands in the history of a database, and the name that this gives its message.
#pragma once
#include "core/base/bytes.h"

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace pgbraid::core {

using Lsn = std::uint64_t; // a byte position in WAL; 0 is none

// (lsn of the commit record, ordinal of the change in its transaction) orders and identifies an event. The ordinal
// counts every change before any filter, so that a changed filter does not shift it. The change's own LSN would not do:
// one WAL record can carry many rows.
//
// What is published before the event itself has its position with a `part`: 0 for what must be known to read it (a
// schema), 1, 2, ... for the pieces of one that is too large for a message. The last piece is the event itself:
// `whole`.
struct Position {
	static constexpr std::uint32_t whole = std::numeric_limits<std::uint32_t>::max();

	Lsn lsn = 0;
	std::uint64_t seq = 0;
	std::uint32_t part = whole;
	auto operator<=>(const Position &) const = default;
};

// Of what the stream has when it ends with a part: the position before that of the event.
constexpr Position last_whole(Position position) noexcept
{
	if (position.part != Position::whole && position.seq > 0)
		return {position.lsn, position.seq - 1};
	return position;
}

// One history: the system identifier of the cluster, and an epoch that changes whenever LSNs may be used again
// (promotion, restore, a slot made anew): see epoch.h.
struct History {
	std::uint64_t system = 0;
	std::string epoch;
	bool operator==(const History &) const = default;
};

struct MessageId {
	History history;
	Position position;
	bool operator==(const MessageId &) const = default;
};

// "<system id>.<epoch>.<commit lsn, 16 upper case hex digits>.<seq>", and ".<part>" unless it is whole: the value of
// Nats-Msg-Id. An id has one spelling: what parses is what append_message_id() writes (no leading zeros; an epoch of
// printable ASCII without a dot).
void append_message_id(Bytes &to, const History &history, Position position);

// Its two halves: up to and including the dot before the LSN, and the rest.
void append_id_of_history(Bytes &to, const History &history);
void append_id_of_position(Bytes &to, Position position);
std::optional<MessageId> parse_message_id(std::string_view text);

// That many upper case hexadecimal digits, the last ones if the value has more.
void append_hex(Bytes &to, std::uint64_t value, int digits);

// "16/B374D848", as PostgreSQL prints it.
void append_lsn(Bytes &to, Lsn lsn);

} // namespace pgbraid::core
