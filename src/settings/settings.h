// Every setting of pgbraid. docs/settings.md describes them for users.
#pragma once
#include "pg/prelude.h"

namespace pgbraid::settings {

void define(); // in _PG_init

const char *nats_url();		 // "nats://a:4222,nats://b:4222"
int max_workers();			 // entries of the registry
size_t flow_memory();		 // bytes that a flow may hold unacknowledged
int flow_save_interval_ms(); // how often a flow's position is made durable
int flow_horizon_ms();		 // how long what was acknowledged may still be lost
bool flow_wait_for_standbys();
int job_executors();
int job_concurrency(); // 0: no limit
int job_dispatches();
int job_clock_shift_ms();
const char *branch_hold_at(); // "" for none
int branch_trash_age_s();
int restart_delay_max_ms();

} // namespace pgbraid::settings
