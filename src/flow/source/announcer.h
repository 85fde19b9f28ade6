// Events that are no rows: logical messages, begin and commit of transactions, schemas. All are JSON, whatever the
// format of the flow, and have the header Pgbraid-Op.
#pragma once
#include "catalog/announcements.h"
#include "core/flow/announcement.h"
#include "core/flow/batch.h"
#include "core/flow/subject.h"
#include "flow/source/relation.h"

#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::flow {

struct LogicalMessage {
	std::string_view prefix, content;
	core::Position position;
	bool is_transactional;
};

// A version, and where the snapshot stood whose row needs it, if it is one.
struct NewSchema {
	const core::SchemaVersion *version;
	std::string_view snapshot;
};

class Announcer {
public:
	// In an open transaction. `database` in UTF-8.
	Announcer(catalog::Announcements options, std::string database, core::History history);

	// What a stream must listen on for it.
	std::vector<std::string> subjects() const;

	bool wants_transactions() const noexcept { return options_.transactions; }
	bool wants(std::string_view prefix) const noexcept;

	void start_transaction(core::Lsn commit_lsn, TransactionId xid, TimestampTz commit_time);

	// Each appends one message. `stub`: without the content, which has `oversize` bytes too many for NATS.
	void begin(core::Batch &batch, core::Lsn commit_lsn);
	void commit(core::Batch &batch, core::Position position, uint64_t events);
	void message(core::Batch &batch, const LogicalMessage &message, size_t oversize = 0);
	void schema(core::Batch &batch, std::string_view subject, const RelationPlan &plan, const NewSchema &schema,
				size_t oversize = 0);

private:
	void start(core::Batch &batch, std::string_view subject, core::Position position);
	void begin_headers(const char *op, size_t oversize = 0);
	void end_head(core::Bytes &to, size_t oversize);
	bool to_utf8(std::string_view text, core::Bytes &to);

	catalog::Announcements options_;
	std::string database_;
	core::History history_;
	core::SubjectTemplate message_template_;
	std::string transaction_subject_;
	core::TransactionFrame transaction_;
	FmgrInfo conversion_ = {}; // out of the encoding of the database, callable where the catalog can't be read
	core::Bytes prefix_, content_, lead_, lsn_, subject_, headers_; // members: an ereport skips destructors of locals
};

} // namespace pgbraid::flow
