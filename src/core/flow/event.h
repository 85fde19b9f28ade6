// The frame of an event in format json: everything but the row values.
//
//   {"op":"update","schema":"public","table":"t","lsn":"0/1A2B3C4D","seq":3,"xid":745,"ts":"...Z" <key, after, ...> }
#pragma once
#include "core/base/bytes.h"
#include "core/flow/position.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgbraid::core {

// Headers, as the beginnings of their lines. docs/wire-format.md says what they mean.
namespace header {
inline constexpr std::string_view op = "Pgbraid-Op: ", snapshot = "Pgbraid-Snapshot: ", oversize = "Pgbraid-Oversize: ";
}

// What all events of one transaction share, rendered once.
class TransactionFrame {
public:
	// `commit_time` in microseconds since 2000-01-01 UTC; `xid` 0 leaves it out.
	void start(Lsn commit_lsn, std::uint32_t xid, std::int64_t commit_time);
	std::string_view lsn() const noexcept { return text_.view(0, lsn_size_); }
	std::string_view rest() const noexcept { return text_.view(lsn_size_); } // ,"xid":745,"ts":"..."

private:
	Bytes text_;
	std::size_t lsn_size_ = 0;
};

// `"schema":"public","table":"t"`: what all events of one table share.
void append_table_frame(Bytes &to, std::string_view schema, std::string_view table);

// From the opening brace up to and including ts; the caller adds what follows and the closing brace. `table` is what
// append_table_frame wrote.
void append_event_head(Bytes &to, std::string_view op, std::string_view table, const TransactionFrame &transaction,
					   std::uint64_t seq);

} // namespace pgbraid::core
