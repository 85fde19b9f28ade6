// The frame of an event in format debezium: Debezium's envelope, without schema, around the values before and after.
//
//   {"before":...,"after":... <source> <end>
#pragma once
#include "core/base/bytes.h"
#include "core/flow/position.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgbraid::core {

// What Debezium shows for a value that the server did not log, since it is stored out of line and did not change.
inline constexpr std::string_view debezium_unavailable = "\"__debezium_unavailable_value\"";

// All that depends on the transaction alone is rendered once. Nothing depends on the time of encoding: an event that is
// encoded twice is the same to the byte.
class DebeziumFrame {
public:
	// Names in UTF-8; they are written in ASCII.
	DebeziumFrame(std::string_view version, std::string_view flow, std::string_view database);

	// As TransactionFrame::start. `xid` 0 is shown as null.
	void start(Lsn commit_lsn, std::uint32_t xid, std::int64_t commit_time);

	// ,"source":{...} of a change whose record is at `lsn`; `table` is what append_table_frame wrote.
	void append_source(Bytes &to, bool is_snapshot, std::string_view table, Lsn lsn) const;

	// ,"op":"c","ts_ms":...,"transaction":null}
	void append_end(Bytes &to, char op) const;

private:
	std::string head_, database_; // "source":{...,"name":"...","ts_ms": and ,"db":"..."
	Bytes commit_lsn_, ts_ms_, ts_us_ns_, xid_;
};

} // namespace pgbraid::core
