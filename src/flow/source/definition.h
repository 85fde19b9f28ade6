// What a flow is to do: read from the catalog once, when its worker starts, in the form that the parts of the worker
// want it.
#pragma once
#include "catalog/announcements.h"
#include "catalog/flows.h"
#include "core/flow/oversize.h"
#include "core/flow/seal.h"
#include "flow/source/encoder.h"
#include "flow/source/relation.h"
#include "flow/source/schema_log.h"
#include "nats/publisher.h"

#include <optional>
#include <string>

namespace pgbraid::flow {

struct Definition {
	explicit Definition(catalog::Flow defined);

	catalog::Flow flow;
	std::string name, database; // in UTF-8
	catalog::Announcements announcements;
	nats::ConnectionOptions connection;
	std::string mask_key; // empty where no column is hashed
	std::optional<core::Hmac> hmac;

	SchemaEvents schema_events() const;
	core::OversizeMode oversize_mode() const;
	nats::PublisherOptions publisher_options(const core::History &history) const; // in an open transaction
	EncoderOptions encoder_options(const core::History &history) const;
	PlanOptions plan_options() const; // refers to this definition

	// Has somebody altered the foreign server or a user mapping since? The catalog can't be asked while a transaction
	// of the past is being decoded: if NATS does not take its changes, the worker might wait there for ever, so then
	// any change counts.
	bool server_differs(bool is_healthy) const;
};

} // namespace pgbraid::flow
