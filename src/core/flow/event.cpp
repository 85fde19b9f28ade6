#include "core/flow/event.h"

#include "core/flow/json.h"

namespace pgbraid::core {

void TransactionFrame::start(Lsn commit_lsn, std::uint32_t xid, std::int64_t commit_time)
{
	text_.clear();
	append_lsn(text_, commit_lsn);
	lsn_size_ = text_.size();
	if (xid != 0) {
		text_.append(",\"xid\":");
		append_json_integer(text_, xid);
	}
	text_.append(",\"ts\":\"");
	append_timestamp(text_, commit_time);
	text_.append('"');
}

void append_table_frame(Bytes &to, std::string_view schema, std::string_view table)
{
	to.append("\"schema\":");
	append_json_string(to, schema);
	to.append(",\"table\":");
	append_json_string(to, table);
}

void append_event_head(Bytes &to, std::string_view op, std::string_view table, const TransactionFrame &transaction,
					   std::uint64_t seq)
{
	to.append("{\"op\":\"");
	to.append(op);
	to.append("\",");
	to.append(table);
	to.append(",\"lsn\":\"");
	to.append(transaction.lsn());
	to.append("\",\"seq\":");
	append_json_integer(to, static_cast<std::int64_t>(seq));
	to.append(transaction.rest());
}

} // namespace pgbraid::core
