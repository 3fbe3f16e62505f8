package com.rabbitmq.perf;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.DefaultConsumer;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.TimeoutException;

/**
 * Lets the workers of a run wait for each other at the broker, without a message: each worker consumes from a queue that stays
 * empty, and the broker knows the number of its consumers.
 */
final class Meeting implements AutoCloseable {

  private static final Duration POLL_INTERVAL = Duration.ofMillis(50);

  private final Connection connection;
  private final String run;
  private final Duration limit;

  Meeting(Connection connection, String run, Duration limit) {
    this.connection = connection;
    this.run = run;
    this.limit = limit;
  }

  /** Joins a place of the run; the worker leaves it by closing the result. */
  Place join(String name) throws IOException {
    Channel channel = connection.createChannel();
    String queue = run + " " + name;
    channel.queueDeclare(queue, false, false, true, null);
    channel.basicConsume(queue, true, new DefaultConsumer(channel));
    return new Place(channel, queue);
  }

  /** A place of the run. */
  final class Place implements AutoCloseable {

    private final Channel channel;
    private final String queue;

    private Place(Channel channel, String queue) {
      this.channel = channel;
      this.queue = queue;
    }

    int present() throws IOException {
      return channel.queueDeclarePassive(queue).getConsumerCount();
    }

    /** Waits until `expected` workers are here; the number may decrease when a worker is lost. */
    void await(Expected expected) throws IOException, InterruptedException {
      long deadline = System.nanoTime() + limit.toNanos();
      while (present() < expected.get()) {
        if (System.nanoTime() > deadline) {
          throw new IncompleteException(queue, present(), expected.get(), limit);
        }
        Thread.sleep(POLL_INTERVAL.toMillis());
      }
    }

    @Override
    public void close() throws IOException {
      try {
        channel.close();
      } catch (TimeoutException e) {
        throw new IOException(e);
      }
    }
  }

  /** How many workers are expected. */
  interface Expected {
    int get() throws IOException;
  }

  /** Not all workers came in time. */
  static final class IncompleteException extends PerfTestException {
    IncompleteException(String where, int present, int expected, Duration limit) {
      super(present + " of " + expected + " workers are at `" + where + "` after " + limit.toSeconds() + " s");
    }
  }

  @Override
  public void close() throws IOException {
    connection.close();
  }
}
