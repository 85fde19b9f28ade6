#include "flow/source/encoder.h"

#include "core/flow/json.h"

namespace pgbraid::flow {

namespace {

using core::Bytes;
using core::Pack;

// Room for headers: ours, those of CloudEvents, and what the publisher adds.
constexpr std::size_t headers_size = 4096;

// As Debezium calls them.
char code_of(Operation operation)
{
	static constexpr char codes[] = {'r', 'c', 'u', 'd', 't'};
	return codes[static_cast<int>(operation)];
}

// Is the operation told by a header, and so the same for all rows of a message?
bool has_operation_header(Format format)
{
	return format == Format::rows || format == Format::cloudevents;
}

std::string_view keep(MemoryContext memory, std::string_view text)
{
	auto *copy = static_cast<char *>(MemoryContextAlloc(memory, text.size() + 1));
	memcpy(copy, text.data(), text.size());
	return {copy, text.size()};
}

} // namespace

Format format_named(std::string_view name)
{
	return name == "rows"		   ? Format::rows
		   : name == "debezium"	   ? Format::debezium
		   : name == "cloudevents" ? Format::cloudevents
								   : Format::json;
}

Encoder::Encoder(EncoderOptions options)
	: format_(options.format), template_(std::move(options.subject)), database_(std::move(options.database)),
	  history_(std::move(options.history)), debezium_(PGBRAID_VERSION, options.flow, database_),
	  cloudevents_(history_.system, database_, options.flow, options.rows_per_message > 1),
	  pack_(format_ == Format::rows ? Pack::Layout::array : Pack::Layout::lines, options.rows_per_message)
{
}

void Encoder::limit_messages(std::size_t most_bytes) noexcept
{
	std::size_t room = most_bytes > headers_size ? most_bytes - headers_size : 0;
	pack_.limit_bytes(most_bytes == 0 ? Pack::default_most_bytes : std::min(room, Pack::default_most_bytes));
}

void Encoder::start_transaction(core::Lsn commit_lsn, TransactionId xid, TimestampTz commit_time)
{
	switch (format_) {
		case Format::json: return transaction_.start(commit_lsn, xid, commit_time);
		case Format::debezium: return debezium_.start(commit_lsn, xid, commit_time);
		case Format::cloudevents: return cloudevents_.start(commit_time);
		case Format::rows: return;
	}
}

std::string_view Encoder::prepare(RelationPlan &plan)
{
	if (!template_.uses_op() && !template_.uses_key()) {
		subject_.clear();
		template_.render(subject_,
						 {.database = database_, .schema = plan.schema, .table = plan.table, .op = {}, .key = {}});
		plan.subject = keep(plan.memory, subject_.view());
	}
	headers_.clear();
	core::append_cloudevent_subject(headers_, plan.schema, plan.table);
	plan.header = keep(plan.memory, headers_.view());
	pattern_ =
		template_.pattern({.database = database_, .schema = plan.schema, .table = plan.table, .op = {}, .key = {}});
	return pattern_;
}

std::string_view Encoder::subject_of(const RelationPlan &plan, const Change &change)
{
	if (!plan.subject.empty())
		return plan.subject;
	key_.clear();
	bool is_first = true;
	const RowImage &row = change.after.values ? change.after : change.before;
	for (int i = 0; template_.uses_key() && row.values != nullptr && i < plan.column_count; i++) {
		const ColumnPlan &column = plan.columns[i];
		const RowImage *source = column.in_key ? row_with(column, row, change.before) : nullptr;
		if (source == nullptr || source->nulls[column.index])
			continue;
		if (!is_first)
			key_.append(',');
		is_first = false;
		append_text(key_, column, source->values[column.index]);
	}
	convert_to_utf8(key_, 0, BadBytes::keep);
	subject_.clear();
	template_.render(subject_, {.database = database_,
								.schema = plan.schema,
								.table = plan.table,
								.op = name_of(change.operation),
								.key = {key_.empty() ? "" : key_.data(), key_.size()}});
	return subject_.view();
}

// What all rows of a message share.
std::string_view Encoder::headers_of(const RelationPlan &plan, Operation operation)
{
	headers_.clear();
	if (format_ == Format::rows) {
		headers_.append(core::header::op);
		headers_.append(name_of(operation));
		headers_.append("\r\n");
	}
	if (format_ == Format::cloudevents)
		cloudevents_.append_headers(headers_, name_of(operation), plan.header);
	return headers_.empty() ? std::string_view() : headers_.view();
}

// What depends on the last row of a message. A row of a snapshot says how far that has come.
std::string_view Encoder::last_headers_of(core::Position position, std::string_view snapshot)
{
	last_headers_.clear();
	if (!snapshot.empty()) {
		last_headers_.append(core::header::snapshot);
		last_headers_.append(snapshot);
		last_headers_.append("\r\n");
	}
	if (format_ == Format::cloudevents)
		core::append_cloudevent_id(last_headers_, history_, position);
	return last_headers_.empty() ? std::string_view() : last_headers_.view();
}

// Of one change; format rows leaves the brackets of its array to the caller.
void Encoder::append_payload(Bytes &to, const RelationPlan &plan, const Change &change)
{
	size_t start = to.size();
	switch (format_) {
		case Format::json:
			core::append_event_head(to, name_of(change.operation), plan.frame, transaction_, change.position.seq);
			append_key_and_rows(to, plan, change);
			to.append('}');
			break;
		case Format::rows: append_row(to, plan, change); break;
		case Format::debezium:
			to.append('{');
			append_before_and_after(to, plan, change);
			debezium_.append_source(to, change.operation == Operation::snapshot, plan.frame,
									change.record_lsn != 0 ? change.record_lsn : change.position.lsn);
			debezium_.append_end(to, code_of(change.operation));
			break;
		case Format::cloudevents:
			to.append("{\"op\":\"");
			to.append(name_of(change.operation));
			to.append('"');
			append_key_and_rows(to, plan, change);
			to.append('}');
			break;
	}
	convert_to_utf8(to, start);
}

std::string_view Encoder::subject_of_table(const RelationPlan &plan, const char *op)
{
	if (!plan.subject.empty())
		return plan.subject;
	subject_.clear();
	template_.render(subject_,
					 {.database = database_, .schema = plan.schema, .table = plan.table, .op = op, .key = ""});
	return subject_.view();
}

void Encoder::append_stub(core::Batch &batch, const RelationPlan &plan, const Change &change, size_t size,
						  bool with_key)
{
	std::string_view subject = subject_of(plan, change);
	headers_of(plan, change.operation);
	headers_.append(last_headers_of(change.position, change.snapshot));
	headers_.append(core::header::oversize);
	core::append_json_integer(headers_, (int64) size);
	headers_.append("\r\n");
	batch.begin(subject, history_, change.position, headers_.view());
	Bytes &to = batch.payload();
	size_t start = to.size();
	const RowImage &row = change.after.values ? change.after : change.before;
	bool has_key = with_key && plan.has_key && row.values != nullptr;
	if (format_ == Format::rows) {
		to.append('[');
	} else {
		core::append_event_head(to, name_of(change.operation), plan.frame, transaction_, change.position.seq);
		to.append(has_key ? ",\"key\":" : "");
	}
	if (has_key)
		append_key_object(to, plan, change);
	if (format_ != Format::rows) {
		to.append(",\"oversize\":");
		core::append_json_integer(to, (int64) size);
	}
	to.append(format_ == Format::rows ? ']' : '}');
	convert_to_utf8(to, start);
	batch.end();
}

void Encoder::append(core::Batch &batch, const RelationPlan &plan, const Change &change)
{
	std::string_view subject = subject_of(plan, change);
	if (packs(change))
		return append_to_pack(batch, plan, change, subject);
	headers_of(plan, change.operation);
	headers_.append(last_headers_of(change.position, change.snapshot));
	batch.begin(subject, history_, change.position, headers_.empty() ? std::string_view() : headers_.view());
	if (format_ == Format::rows)
		batch.payload().append('[');
	append_payload(batch.payload(), plan, change);
	if (format_ == Format::rows)
		batch.payload().append(']');
	batch.end();
}

bool Encoder::packs(const Change &change) const noexcept
{
	return pack_.most_rows() > 1 && change.operation != Operation::truncate;
}

Pack::Kind Encoder::kind_of(const RelationPlan &plan, const Change &change, std::string_view subject) const
{
	return {subject, plan.frame, has_operation_header(format_) ? static_cast<int>(change.operation) : 0};
}

void Encoder::close_other_pack(core::Batch &batch, const RelationPlan &plan, const Change &change)
{
	if (!pack_.empty() && !(packs(change) && pack_.takes(kind_of(plan, change, subject_of(plan, change)))))
		close_pack(batch);
}

void Encoder::append_to_pack(core::Batch &batch, const RelationPlan &plan, const Change &change,
							 std::string_view subject)
{
	Pack::Kind kind = kind_of(plan, change, subject);
	if (!pack_.takes(kind))
		pack_.open(kind, headers_of(plan, change.operation));
	append_payload(pack_.begin_row(), plan, change);
	if (pack_.end_row(change.position, change.snapshot))
		pack_.take(batch, history_, last_headers_of(pack_.position(), pack_.place()));
}

void Encoder::close_pack(core::Batch &batch)
{
	if (!pack_.empty())
		pack_.take(batch, history_, last_headers_of(pack_.position(), pack_.place()));
}

} // namespace pgbraid::flow
