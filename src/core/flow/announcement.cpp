#include "core/flow/announcement.h"

#include "core/flow/json.h"

namespace pgbraid::core {

void append_announcement_head(Bytes &to, std::string_view op, std::string_view subject, std::string_view lsn,
							  std::uint64_t seq, std::string_view rest)
{
	to.append("{\"op\":\"");
	to.append(op);
	to.append("\",");
	if (!subject.empty()) {
		to.append(subject);
		to.append(',');
	}
	to.append("\"lsn\":\"");
	to.append(lsn);
	to.append("\",\"seq\":");
	append_json_integer(to, static_cast<std::int64_t>(seq));
	to.append(rest);
}

void append_begin(Bytes &to, const TransactionFrame &transaction)
{
	append_announcement_head(to, "begin", {}, transaction.lsn(), 0, transaction.rest());
	to.append('}');
}

void append_commit(Bytes &to, const TransactionFrame &transaction, std::uint64_t seq, std::uint64_t events)
{
	append_announcement_head(to, "commit", {}, transaction.lsn(), seq, transaction.rest());
	to.append(",\"events\":");
	append_json_integer(to, static_cast<std::int64_t>(events));
	to.append('}');
}

} // namespace pgbraid::core
