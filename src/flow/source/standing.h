// What this worker knows of its flow when it starts.
#pragma once
#include "catalog/flows.h"
#include "core/flow/resumption.h"
#include "nats/connection.h"

namespace pgbraid::flow {

// The epoch in which a worker of this process writes. A slot that is still to be made begins another generation.
core::Epoch epoch_of(const catalog::Progress &progress);
core::History history_of(const catalog::Progress &progress);

// Names the servers and the stream, so that a sequence is not taken for that of another stream.
std::string name_of_stream(const nats::ConnectionOptions &connection, const std::string &stream);

core::Standing standing_of(const catalog::Progress &progress, const core::StreamTail &tail);

// Of a flow that follows its family: what it knows of its last turn; nothing, if it has had none in this stream.
std::optional<core::Turn> turn_of(const catalog::Progress &progress, const std::string &stream);

// Does the same flow of one of these databases write to that stream now?
bool is_written_in(const std::vector<Oid> &databases, const std::string &stream);

// What is acknowledged, for the next worker, as long as the server runs. `remember_stream` first: it forgets what is of
// another epoch, and sequences of another stream.
void remember_stream(const std::string &stream, const core::Epoch &epoch);
void remember(const core::Checkpoint &stored);

} // namespace pgbraid::flow
