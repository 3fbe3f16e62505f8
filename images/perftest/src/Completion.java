package com.rabbitmq.perf;

import com.rabbitmq.perf.MulticastSet.CompletionHandler;
import java.time.Duration;

/**
 * Ends a step so that its counts equal those of the broker. At the limit PerfTest interrupts producers and closes connections,
 * whatever is in their buffers. Here the producers of all workers stop after their current message, the consumers get some time
 * for what is left and are then cancelled, and the broker confirms that it has processed everything, before PerfTest closes the
 * connections.
 */
final class Completion implements CompletionHandler {

  /** Without a message for this long, everything has been received. */
  private static final Duration IDLE = Duration.ofSeconds(1);
  private static final Duration POLL_INTERVAL = Duration.ofMillis(20);
  /** PerfTest's maximum rate does not include the first seconds of a step. */
  private static final Duration WARM_UP = Duration.ofSeconds(3);

  private final CompletionHandler limits;
  private final Measurement measurement;
  private final Channels channels;
  private final InstanceSynchronization others;
  private final Settings settings;
  private volatile boolean isDrained;
  private volatile String doubt;
  private boolean isWarm;
  private volatile Reading first;
  private volatile Reading last;

  /** The number of messages at a time of {@link System#nanoTime}. */
  private record Reading(double messages, long at) {

    double rateSince(Reading earlier) {
      return (messages - earlier.messages) / Math.max(1, at - earlier.at) * 1e9;
    }
  }

  /** @param others waits until the producers of all workers have stopped */
  Completion(
      CompletionHandler limits,
      Measurement measurement,
      Channels channels,
      InstanceSynchronization others,
      Settings settings) {
    this.limits = limits;
    this.measurement = measurement;
    this.channels = channels;
    this.others = others;
    this.settings = settings;
  }

  @Override
  public void waitForCompletion() throws InterruptedException {
    first = reading();
    limits.waitForCompletion();
    last = reading();
    measurement.pauseProducers();
    try {
      others.synchronize();
      isDrained = awaitIdle(settings.drain());
      channels.cancelConsumers();
      channels.flush();
      if (!awaitIdle(settings.patience())) {
        doubt = "messages were still received after " + settings.patience().toSeconds() + " s";
      }
    } catch (InterruptedException e) {
      throw e;
    } catch (Exception e) {
      doubt = e.toString();
    }
  }

  private boolean awaitIdle(Duration limit) throws InterruptedException {
    long deadline = System.nanoTime() + limit.toNanos();
    long seen = measurement.progress();
    long since = System.nanoTime();
    while (System.nanoTime() - since < IDLE.toNanos()) {
      if (System.nanoTime() > deadline) {
        return false;
      }
      Thread.sleep(POLL_INTERVAL.toMillis());
      if (measurement.progress() != seen) {
        seen = measurement.progress();
        since = System.nanoTime();
      }
    }
    return true;
  }

  @Override
  public void countDown(String reason) {
    limits.countDown(reason);
  }

  private Reading reading() {
    return new Reading(measurement.mean(), System.nanoTime());
  }

  /** Called once a second while the step runs. */
  void tick() {
    Reading start = first;
    if (start != null && last == null && !isWarm && System.nanoTime() - start.at >= WARM_UP.toNanos()) {
      isWarm = true;
      first = reading();
    }
  }

  /** The mean of published and received messages a second, without the first seconds of the step. */
  double rate() {
    return last.rateSince(first);
  }

  /** True if the consumers have received everything that was left; otherwise the broker has dropped the rest. */
  boolean isDrained() {
    return isDrained;
  }

  /** Why the counts may differ from those of the broker; `null` if they do not. */
  String doubt() {
    return doubt;
  }
}
