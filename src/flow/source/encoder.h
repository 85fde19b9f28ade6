// Turns the rows of a change into messages of a batch, in the format of the flow.
#pragma once
#include "core/flow/batch.h"
#include "core/flow/cloudevents.h"
#include "core/flow/debezium.h"
#include "core/flow/event.h"
#include "core/flow/pack.h"
#include "core/flow/subject.h"
#include "flow/source/payload.h"

namespace pgbraid::flow {

enum class Format { json, rows, debezium, cloudevents };
Format format_named(std::string_view name);

// Names in UTF-8.
struct EncoderOptions {
	Format format;
	core::SubjectTemplate subject;
	std::string database, flow;
	core::History history;
	std::size_t rows_per_message;
};

class Encoder {
public:
	explicit Encoder(EncoderOptions options);

	void start_transaction(core::Lsn commit_lsn, TransactionId xid, TimestampTz commit_time);

	// Fills in what depends on the flow in a new plan, and returns the pattern that its subjects match; the view is
	// valid until the next call.
	std::string_view prepare(RelationPlan &plan);

	// To be called before append(): makes a message of a pack that the change does not belong to.
	void close_other_pack(core::Batch &batch, const RelationPlan &plan, const Change &change);

	// Appends one message, or adds the row to the pack that is open, which may make one message of it or of what came
	// before it. After an ereport the batch holds half a message: it is of no more use.
	void append(core::Batch &batch, const RelationPlan &plan, const Change &change);

	// Makes a message of the rows that wait for more of their kind. To be called at the end of each transaction (and of
	// each chunk of a snapshot), before the batch is told of it, and before any message that is not made by append().
	// Where the snapshot stood before the message that close_pack() or append() made of rows, if it is one of it.
	std::string_view place_before() const noexcept { return pack_.place_before(); }
	void close_pack(core::Batch &batch);

	// What the NATS server takes in one message, headers included; 0: not known.
	void limit_messages(std::size_t most_bytes) noexcept;

	// Does the change go into a pack, with others?
	bool packs(const Change &change) const noexcept;

	// In place of one whose payload of `size` bytes is too large: what it is about, and its key if that is wanted.
	void append_stub(core::Batch &batch, const RelationPlan &plan, const Change &change, size_t size, bool with_key);

	// The subject of what is said of the table itself; valid until the next call.
	std::string_view subject_of_table(const RelationPlan &plan, const char *op);

private:
	core::Pack::Kind kind_of(const RelationPlan &plan, const Change &change, std::string_view subject) const;
	void append_to_pack(core::Batch &batch, const RelationPlan &plan, const Change &change, std::string_view subject);
	std::string_view subject_of(const RelationPlan &plan, const Change &change);
	std::string_view headers_of(const RelationPlan &plan, Operation operation);
	std::string_view last_headers_of(core::Position position, std::string_view snapshot);
	void append_payload(core::Bytes &to, const RelationPlan &plan, const Change &change);

	Format format_;
	core::SubjectTemplate template_;
	std::string database_;
	core::History history_;
	core::TransactionFrame transaction_;
	core::DebeziumFrame debezium_;
	core::CloudEventFrame cloudevents_;
	core::Pack pack_;
	core::Bytes subject_, key_, headers_, last_headers_; // members, since an ereport would skip destructors of locals
	std::string pattern_;
};

} // namespace pgbraid::flow
