-- What bench/flow writes: rides drawn from the 5,000 of scripts/demo.sql, so that making them costs little.
CREATE TABLE drawn AS SELECT row_number() OVER (ORDER BY log_id) - 1 AS n, t.* FROM taxi_rides t;
ALTER TABLE drawn ADD PRIMARY KEY (n);
ANALYZE drawn;
TRUNCATE taxi_rides RESTART IDENTITY;

CREATE PROCEDURE insert_rides(transactions int, rows int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 0 .. transactions - 1 LOOP
		FOR part IN 0 .. (rows - 1) / 5000 LOOP
			INSERT INTO taxi_rides (distance_traveled, driver_id, duration, end_location, fare_amount, passenger_id,
			                        payment_method, start_location, "timestamp")
			SELECT distance_traveled, driver_id, duration, end_location, fare_amount, passenger_id, payment_method,
			       start_location, "timestamp"
			  FROM drawn WHERE n BETWEEN i * rows % 5000 AND i * rows % 5000 + least(rows - part * 5000, 5000) - 1;
		END LOOP;
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE update_rides(transactions int, rows int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 0 .. transactions - 1 LOOP
		UPDATE taxi_rides SET fare_amount = fare_amount + 1.5, payment_method = 'card'
		 WHERE log_id BETWEEN i * rows + 1 AND (i + 1) * rows;
		COMMIT;
	END LOOP;
END $$;
