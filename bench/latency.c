// From a commit to a subscriber: latency URL STREAM CONNINFO SECONDS RATE
//
// Four sessions insert rides, one a transaction, at RATE transactions a second in all, each at its time whether or not
// the one before was late. A subscriber of the stream (an ordered consumer of JetStream, so what it gets is stored) notes
// when each arrives. All clocks are CLOCK_MONOTONIC of this process. Prints lines "<from> <p50> <p99> <max>", in ms:
//   commit    from just before the statement, which commits, is sent
//   committed from when its commit has returned to the client; below zero where the event was faster than the answer
// and then "count <messages>" and "rate <transactions per second that was reached>".
#include <libpq-fe.h>
#include <nats/nats.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { sessions = 4 };

static double *sent, *committed, *received; // by ride
static int rides;
static const char *conninfo;
static double begin, rate;

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static void sleep_until(double when)
{
	struct timespec time = {(time_t) when, (long) ((when - (double) (time_t) when) * 1e9)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
	}
}

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "latency: %s: %s\n", what, why);
	exit(1);
}

static void check(natsStatus status, const char *what)
{
	if (status != NATS_OK)
		fail(what, natsStatus_GetText(status));
}

static void run(PGconn *connection, PGresult *result)
{
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail("PostgreSQL", PQerrorMessage(connection));
	PQclear(result);
}

static void *insert(void *argument)
{
	PGconn *connection = PQconnectdb(conninfo);
	if (PQstatus(connection) != CONNECTION_OK)
		fail("PostgreSQL", PQerrorMessage(connection));
	run(connection, PQprepare(connection, "ride",
							  "INSERT INTO taxi_rides (driver_id, distance_traveled, duration, end_location, "
							  "fare_amount, passenger_id, payment_method, start_location, \"timestamp\") VALUES ($1, "
							  "4.2, 840, 'Plaza Mayor 27', 9.75, 2048, 'card', 'Paseo del Prado 8', "
							  "'2024-05-22T22:12:00Z')",
							  1, NULL));
	for (int ride = (int) (size_t) argument; ride < rides; ride += sessions) {
		char number[16];
		const char *values[] = {number};
		snprintf(number, sizeof number, "%d", ride);
		sleep_until(begin + ride / rate);
		sent[ride] = now();
		run(connection, PQexecPrepared(connection, "ride", 1, values, NULL, NULL, 0));
		committed[ride] = now();
	}
	PQfinish(connection);
	return NULL;
}

static void receive(natsSubscription *subscription)
{
	for (int i = 0; i < rides; i++) {
		natsMsg *message = NULL;
		check(natsSubscription_NextMsg(&message, subscription, 30000), "event");
		double time = now();
		const char *driver = strstr(natsMsg_GetData(message), "\"driver_id\":");
		int ride = driver != NULL ? atoi(driver + strlen("\"driver_id\":")) : -1;
		if (ride < 0 || ride >= rides || received[ride] != 0)
			fail("event", natsMsg_GetData(message));
		received[ride] = time;
		natsMsg_Destroy(message);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;
	return (x > y) - (x < y);
}

// Those of the first second are left out: sessions and caches are cold.
static void print_delays(const char *name, const double *from)
{
	int count = 0;
	double *delays = malloc((size_t) rides * sizeof *delays);
	for (int ride = (int) rate; ride < rides; ride++)
		delays[count++] = (received[ride] - from[ride]) * 1000;
	qsort(delays, (size_t) count, sizeof *delays, compare);
	printf("%s %.3f %.3f %.3f\n", name, delays[count / 2], delays[count - 1 - count / 100], delays[count - 1]);
	free(delays);
}

static natsSubscription *subscribe(natsConnection *connection, const char *stream)
{
	jsCtx *context = NULL;
	natsSubscription *subscription = NULL;
	jsSubOptions options;
	jsErrCode code;
	jsSubOptions_Init(&options);
	options.Stream = stream;
	options.Ordered = true;
	options.Config.DeliverPolicy = js_DeliverNew;
	check(natsConnection_JetStream(&context, connection, NULL), "JetStream");
	check(js_SubscribeSync(&subscription, context, ">", NULL, &options, &code), "subscribe");
	check(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
	return subscription;
}

int main(int argc, char **argv)
{
	natsConnection *connection = NULL;
	pthread_t threads[sessions];
	if (argc != 6)
		return 2;
	conninfo = argv[3];
	rate = atof(argv[5]);
	rides = (int) ((atof(argv[4]) + 1) * rate);
	sent = calloc((size_t) rides, sizeof *sent);
	committed = calloc((size_t) rides, sizeof *committed);
	received = calloc((size_t) rides, sizeof *received);
	check(natsConnection_ConnectTo(&connection, argv[1]), "connect");
	natsSubscription *subscription = subscribe(connection, argv[2]);
	begin = now() + 0.5;
	for (size_t i = 0; i < sessions; i++)
		pthread_create(&threads[i], NULL, insert, (void *) i);
	receive(subscription);
	for (int i = 0; i < sessions; i++)
		pthread_join(threads[i], NULL);
	print_delays("commit", sent);
	print_delays("committed", committed);
	printf("count %d\n", rides);
	printf("rate %.0f\n", (rides - 1) / (sent[rides - 1] - sent[0]));
	return 0;
}
