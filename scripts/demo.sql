-- 5,000 taxi rides of one week in May, the same on every machine.
CREATE TABLE taxi_rides (
	log_id serial PRIMARY KEY,
	_cq_sync_time timestamp DEFAULT localtimestamp,
	distance_traveled float8,
	driver_id int,
	duration int,
	end_location text,
	fare_amount float8,
	passenger_id int,
	payment_method text,
	start_location text,
	"timestamp" text
);

SELECT setseed(0.42) \g /dev/null

INSERT INTO taxi_rides (distance_traveled, driver_id, duration, end_location, fare_amount, passenger_id, payment_method,
                        start_location, "timestamp")
SELECT round(km::numeric, 2), driver, seconds, streets[end_street] || ' ' || end_number,
       -- A base fare, so much per km and per minute, in steps of five cents.
       round((2.50 + 1.30 * km + 0.35 * seconds / 60)::numeric * 20) / 20,
       passenger, CASE WHEN cash < 0.3 THEN 'cash' ELSE 'card' END, streets[start_street] || ' ' || start_number,
       to_char(timestamp '2024-05-16 06:00' + ride * interval '112 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  FROM (SELECT ride, km, (120 + km * 3600 / (14 + random() * 16))::int AS seconds,
               1 + (random() * 219)::int AS driver, 1 + (random() * 2999)::int AS passenger, random() AS cash,
               1 + (random() * 15)::int AS start_street, 1 + (random() * 15)::int AS end_street,
               1 + (random() * 90)::int AS start_number, 1 + (random() * 90)::int AS end_number
          FROM (SELECT ride, 0.8 + 14 * power(random(), 2.5) AS km FROM generate_series(1, 5000) ride) length) drawn,
       (SELECT '{Calle de Alcalá,Gran Vía,Paseo del Prado,Calle de Atocha,Calle Mayor,Calle de Serrano,
                 Calle de Velázquez,Paseo de la Castellana,Calle de Fuencarral,Calle de Toledo,Calle de Goya,
                 Calle de Bravo Murillo,Calle de Embajadores,Calle de la Princesa,Ronda de Segovia,
                 Calle de Arturo Soria}'::text[] AS streets) names
 ORDER BY ride;
ANALYZE taxi_rides;
