#include "core/flow/debezium.h"

#include "core/flow/json.h"

namespace pgbraid::core {
namespace {

constexpr std::int64_t postgres_epoch_us = 946684800000000; // 2000-01-01, since 1970

void append_number(Bytes &to, std::uint64_t value)
{
	append_json_integer(to, static_cast<std::int64_t>(value));
}

std::string in_ascii(std::string_view text)
{
	Bytes quoted;
	append_json_string_in_ascii(quoted, text);
	return std::string{quoted.view()};
}

// Rounds down, also before 1970.
std::int64_t milliseconds(std::int64_t microseconds)
{
	return microseconds / 1000 - (microseconds % 1000 < 0 ? 1 : 0);
}

} // namespace

DebeziumFrame::DebeziumFrame(std::string_view version, std::string_view flow, std::string_view database)
	: head_(",\"source\":{\"version\":" + in_ascii(version) +
			",\"connector\":\"postgresql\",\"name\":" + in_ascii(flow) + ",\"ts_ms\":"),
	  database_("\",\"db\":" + in_ascii(database) + ",\"sequence\":\"[")
{
}

void DebeziumFrame::start(Lsn commit_lsn, std::uint32_t xid, std::int64_t commit_time)
{
	commit_lsn_.clear();
	append_number(commit_lsn_, commit_lsn);
	std::int64_t us = commit_time + postgres_epoch_us;
	ts_ms_.clear();
	append_json_integer(ts_ms_, milliseconds(us));
	ts_us_ns_.clear();
	ts_us_ns_.append(",\"ts_us\":");
	append_json_integer(ts_us_ns_, us);
	ts_us_ns_.append(",\"ts_ns\":");
	append_json_integer(ts_us_ns_, us);
	if (us != 0)
		ts_us_ns_.append("000"); // as text, since the number may be too large
	xid_.clear();
	if (xid == 0)
		xid_.append("null");
	else
		append_number(xid_, xid);
}

// `sequence` is a string with a JSON array of strings in it.
void DebeziumFrame::append_source(Bytes &to, bool is_snapshot, std::string_view table, Lsn lsn) const
{
	to.append(head_);
	to.append(ts_ms_.view());
	to.append(is_snapshot ? ",\"snapshot\":\"true" : ",\"snapshot\":\"false");
	to.append(database_);
	if (is_snapshot) {
		to.append("null,\\\"");
	} else {
		to.append("\\\"");
		to.append(commit_lsn_.view());
		to.append("\\\",\\\"");
	}
	append_number(to, lsn);
	to.append("\\\"]\"");
	to.append(ts_us_ns_.view());
	to.append(',');
	to.append(table);
	to.append(",\"txId\":");
	to.append(xid_.view());
	to.append(",\"lsn\":");
	append_number(to, lsn);
	to.append(",\"xmin\":null}");
}

void DebeziumFrame::append_end(Bytes &to, char op) const
{
	to.append(",\"op\":\"");
	to.append(op);
	to.append("\",\"ts_ms\":");
	to.append(ts_ms_.view());
	to.append(ts_us_ns_.view());
	to.append(",\"transaction\":null}");
}

} // namespace pgbraid::core
