// One life of a flow worker: from its definition to the stream.
#pragma once
#include "flow/source/backfill.h"
#include "flow/source/confirmation.h"
#include "flow/source/decoder.h"
#include "flow/source/definition.h"
#include "flow/source/durability.h"
#include "flow/source/report.h"
#include "flow/source/slot.h"
#include "flow/source/start.h"
#include "nats/publisher.h"
#include "pg/wait.h"

#include <optional>

namespace pgbraid::flow {

class Session {
public:
	explicit Session(catalog::Flow flow);
	~Session();

	[[noreturn]] void run();

	// Sleeps until WAL is durable up to `lsn`, doing meanwhile what there is to do.
	void wait_for_wal(core::Lsn lsn);

	// Stops the publisher's thread, or leaves it to itself when it takes too long.
	void stop_publisher() noexcept { publisher_.stop(std::chrono::milliseconds{200}); }

private:
	void await_handover();
	core::StreamTail await_tail();
	void start_decoding();
	Decoder::Parts parts();
	[[noreturn]] void decode();
	bool has_other_work() const;
	bool shall_work(bool is_idle) const;
	void take_up_requests();

	void sleep(long timeout_ms);
	void service();
	void check_publisher(const nats::Publisher::Progress &progress);
	[[noreturn]] void give_way();
	bool may_leave(const nats::Publisher::Progress &progress) const;
	void await_durable();
	long idle_timeout() const;
	uint64_t await_empty();

	Definition definition_;
	const catalog::Flow &flow_;
	catalog::Progress progress_;
	core::History history_;
	int event_fd_;
	pg::Waiter waiter_;
	nats::Publisher publisher_;
	Outlet outlet_;
	Encoder encoder_;
	RelationPlans plans_;
	Announcer announcer_;
	SchemaLog schema_log_;
	DeadLetters letters_;
	Report report_;
	Start start_;
	Durability durability_;
	std::optional<core::Oversize> oversize_;
	std::optional<Decoder> decoder_;
	std::optional<SlotReader> reader_;
	std::optional<Backfill> backfill_;
	std::optional<Confirmation> confirmation_;
	bool between_records_ = false; // no transaction is half handed over
	unsigned configuration_;
	uint32 touched_;
	TimestampTz next_work_ = 0, next_idle_work_ = 0; // of the backfill, while there are changes to publish, or none
	TimestampTz stable_at_ = 0;						 // 0 once earlier failures are forgotten
};

} // namespace pgbraid::flow
