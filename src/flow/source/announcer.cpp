#include "flow/source/announcer.h"

#include "core/flow/base64.h"
#include "core/flow/json.h"
#include "flow/source/value.h"
#include "pg/boundary.h"
#include "pg/encoding.h"

extern "C" {
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
}

#include <algorithm>

namespace pgbraid::flow {

namespace {

constexpr std::string_view own_prefix = "pgbraid";

// Of a prefix: anybody may write a message with one of any size.
constexpr size_t longest_in_stub = 255;

core::SubjectTemplate parse(const std::string &text, core::SubjectKind kind)
{
	return pg::take(core::SubjectTemplate::parse(pg::to_utf8(text), kind));
}

bool needs_conversion()
{
	return GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
}

void find_conversion(FmgrInfo *conversion)
{
	Oid function = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);
	if (!OidIsValid(function))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("no conversion from encoding \"%s\" to UTF8 exists", GetDatabaseEncodingName())));
	fmgr_info_cxt(function, conversion, TopMemoryContext);
}

} // namespace

Announcer::Announcer(catalog::Announcements options, std::string database, core::History history)
	: options_(std::move(options)), database_(std::move(database)), history_(std::move(history)),
	  message_template_(parse(options_.message_subject, core::SubjectKind::message))
{
	core::Bytes subject;
	parse(options_.transaction_subject, core::SubjectKind::transaction).render(subject, {.database = database_});
	transaction_subject_ = subject.view();
	if (needs_conversion())
		pg::call([&] { find_conversion(&conversion_); });
}

std::vector<std::string> Announcer::subjects() const
{
	std::vector<std::string> patterns;
	if (options_.transactions)
		patterns.push_back(transaction_subject_);
	if (options_.all_messages)
		patterns.push_back(message_template_.pattern({.database = database_}));
	for (const std::string &prefix : options_.prefixes)
		patterns.push_back(message_template_.pattern({.database = database_, .prefix = pg::to_utf8(prefix)}));
	return patterns;
}

bool Announcer::wants(std::string_view prefix) const noexcept
{
	if (prefix == own_prefix)
		return false;
	return options_.all_messages ||
		   std::find(options_.prefixes.begin(), options_.prefixes.end(), prefix) != options_.prefixes.end();
}

void Announcer::start_transaction(core::Lsn commit_lsn, TransactionId xid, TimestampTz commit_time)
{
	transaction_.start(commit_lsn, xid, commit_time);
}

void Announcer::start(core::Batch &batch, std::string_view subject, core::Position position)
{
	batch.begin(subject, history_, position, headers_.view());
}

void Announcer::begin_headers(const char *op, size_t oversize)
{
	headers_.clear();
	headers_.append(core::header::op);
	headers_.append(op);
	headers_.append("\r\n");
	if (oversize > 0) {
		headers_.append(core::header::oversize);
		core::append_json_integer(headers_, (int64) oversize);
		headers_.append("\r\n");
	}
}

void Announcer::begin(core::Batch &batch, core::Lsn commit_lsn)
{
	begin_headers("begin");
	start(batch, transaction_subject_, {commit_lsn, 0});
	core::append_begin(batch.payload(), transaction_);
	batch.end();
}

void Announcer::commit(core::Batch &batch, core::Position position, uint64_t events)
{
	begin_headers("commit");
	start(batch, transaction_subject_, position);
	core::append_commit(batch.payload(), transaction_, position.seq, events);
	batch.end();
}

void Announcer::end_head(core::Bytes &to, size_t oversize)
{
	if (oversize > 0) {
		to.append(",\"oversize\":");
		core::append_json_integer(to, (int64) oversize);
	}
}

// False, and nothing appended that counts, if the bytes are no text in the encoding of the database, or have no
// equivalent.
bool Announcer::to_utf8(std::string_view text, core::Bytes &to)
{
	int encoding = GetDatabaseEncoding() == PG_SQL_ASCII ? PG_UTF8 : GetDatabaseEncoding();
	if (!pg_verify_mbstr(encoding, text.data(), (int) text.size(), true))
		return false;
	if (!needs_conversion()) {
		to.append(text);
		return true;
	}
	if (text.size() > MaxAllocSize / MAX_CONVERSION_GROWTH)
		return false;
	size_t start = to.size();
	char *at = to.reserve(text.size() * MAX_CONVERSION_GROWTH + 1);
	int32 converted = DatumGetInt32(FunctionCall6(&conversion_, Int32GetDatum(encoding), Int32GetDatum(PG_UTF8),
												  CStringGetDatum(text.data()), CStringGetDatum(at),
												  Int32GetDatum((int32) text.size()), BoolGetDatum(true)));
	to.commit(at + strlen(at));
	if ((size_t) converted == text.size())
		return true;
	to.truncate(start);
	return false;
}

void Announcer::message(core::Batch &batch, const LogicalMessage &message, size_t oversize)
{
	prefix_.clear();
	if (!to_utf8(message.prefix, prefix_))
		prefix_.append(message.prefix);
	core::repair_utf8(prefix_, 0);
	subject_.clear();
	message_template_.render(subject_, {.database = database_, .prefix = prefix_.view()});
	begin_headers("message", oversize);
	start(batch, subject_.view(), message.position);
	core::Bytes &to = batch.payload();
	lead_.clear();
	lead_.append("\"prefix\":");
	core::append_json_string(lead_, oversize > 0 ? core::utf8_prefix(prefix_.view(), longest_in_stub) : prefix_.view());
	lsn_.clear();
	core::append_lsn(lsn_, message.position.lsn);
	core::append_announcement_head(to, "message", lead_.view(), lsn_.view(), message.position.seq,
								   message.is_transactional ? transaction_.rest() : std::string_view());
	to.append(message.is_transactional ? ",\"transactional\":true" : ",\"transactional\":false");
	end_head(to, oversize);
	content_.clear();
	if (oversize > 0) {
	} else if (to_utf8(message.content, content_)) {
		to.append(",\"content\":");
		core::append_json_string(to, {content_.empty() ? "" : content_.data(), content_.size()});
	} else {
		to.append(",\"content_base64\":\"");
		core::append_base64(to, message.content);
		to.append('"');
	}
	to.append('}');
	batch.end();
}

void Announcer::schema(core::Batch &batch, std::string_view subject, const RelationPlan &plan, const NewSchema &schema,
					   size_t oversize)
{
	const core::SchemaVersion &version = *schema.version;
	begin_headers("schema", oversize);
	if (!schema.snapshot.empty()) {
		headers_.append(core::header::snapshot);
		headers_.append(schema.snapshot);
		headers_.append("\r\n");
	}
	start(batch, subject, version.since);
	core::Bytes &to = batch.payload();
	size_t begin = to.size();
	core::append_announcement_head(to, "schema", plan.frame, transaction_.lsn(), version.since.seq,
								   transaction_.rest());
	to.append(",\"version\":");
	core::append_json_integer(to, (int64) version.version);
	end_head(to, oversize);
	if (oversize == 0) {
		to.append(',');
		to.append(version.shape);
	}
	to.append('}');
	convert_to_utf8(to, begin);
	batch.end();
}

} // namespace pgbraid::flow
