package com.rabbitmq.perf;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Envelope;
import com.rabbitmq.perf.metrics.PerformanceMetrics;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;

/**
 * Counts every message of a step. PerfTest calls the functional logger for each message that was published, confirmed or
 * received, with the time at which the message was created.
 */
final class Measurement implements PerformanceMetrics, FunctionalLogger {

  /** The time in a message of another program is any number. */
  private static final Duration PLAUSIBLE = Duration.ofDays(1);

  private final Operation publish;
  private final Operation confirm;
  private final Operation consume;
  private final boolean usesMillis;
  /** Received messages without a plausible time, which are not from PerfTest. */
  private final LongAdder foreign = new LongAdder();

  private volatile boolean isPaused;

  Measurement(String step, boolean usesMillis, Rows rows) {
    this.publish = new Operation("publish", step, rows);
    this.confirm = new Operation("confirm", step, rows);
    this.consume = new Operation("consume", step, rows);
    this.usesMillis = usesMillis;
  }

  List<Operation> operations() {
    return List.of(publish, confirm, consume);
  }

  /** Changes whenever a message is counted. */
  long progress() {
    return publish.messages() + confirm.messages() + consume.messages() + foreign.sum();
  }

  /** The mean of published and received messages, from which PerfTest derives the maximum rate. */
  double mean() {
    return (publish.messages() + consume.messages()) / 2.0;
  }

  long foreign() {
    return foreign.sum();
  }

  void flush() {
    operations().forEach(Operation::flush);
  }

  /** Stops every producer after its current message, so that no message is interrupted half-way. */
  void pauseProducers() {
    isPaused = true;
  }

  /** Microseconds since a time of PerfTest's clock; negative if the clocks of two nodes differ. */
  private long since(long timestamp) {
    return usesMillis
        ? (System.currentTimeMillis() - timestamp) * 1000
        : (System.nanoTime() - timestamp) / 1000;
  }

  // ------------------------------------------------------------- FunctionalLogger

  @Override
  public void published(int id, long timestamp, long number, AMQP.BasicProperties properties, byte[] body) {
    publish.add(since(timestamp), body.length);
  }

  @Override
  public void publishConfirmed(int id, boolean isConfirmed, long number, long timestamp) {
    if (isConfirmed) {
      confirm.add(since(timestamp), 0);
    } else {
      confirm.addFailed(since(timestamp));
    }
  }

  @Override
  public void received(
      int id, long timestamp, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
    long micros = since(timestamp);
    if (Math.abs(micros) > PLAUSIBLE.toMillis() * 1000) {
      foreign.increment();
    } else {
      consume.add(micros, body.length);
    }
  }

  @Override
  public void receivedPublishConfirm(int id, boolean isConfirmed, long number, int count) {}

  @Override
  public void acknowledged(int id, long timestamp, Envelope envelope, int count) {}

  // ------------------------------------------------------------- PerformanceMetrics

  /** Called by a producer's own thread after each message. */
  @Override
  public void published() {
    while (isPaused && !Thread.currentThread().isInterrupted()) {
      LockSupport.park(this);
    }
  }

  /** The broker could not route a message that was published as mandatory. */
  @Override
  public void returned() {
    publish.fail(1);
  }

  @Override
  public void start() {}

  @Override
  public void confirmed(int count, long[] latencies) {}

  @Override
  public void nacked(int count) {}

  @Override
  public void received(long latency) {}

  @Override
  public Duration interval() {
    return Duration.ofSeconds(1);
  }

  @Override
  public void resetGlobals() {}
}
