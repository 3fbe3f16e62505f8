package com.rabbitmq.perf;

import static com.rabbitmq.perf.DistributedPerfTest.say;

import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.perf.DistributedPerfTest.Broker;
import com.rabbitmq.perf.DistributedPerfTest.ResultsException;
import com.rabbitmq.perf.Step.Pace;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** Runs the steps of this worker, each together with the other workers. */
final class Runner {

  /** Reasons for the end of a step that are no failure. */
  private static final Set<String> REGULAR =
      Set.of(
          MulticastSet.STOP_REASON_REACHED_TIME_LIMIT,
          Producer.STOP_REASON_PRODUCER_MESSAGE_LIMIT,
          Consumer.STOP_REASON_CONSUMER_REACHED_MESSAGE_LIMIT,
          Consumer.STOP_REASON_CONSUMER_IDLE,
          Consumer.STOP_REASON_CONSUMER_QUEUE_EMPTY);

  private final ConnectionFactory factory;
  private final Meeting meeting;
  private final Rows rows;
  private final Settings settings;

  private double maximum;
  private long messages;
  /** Places of the previous step: other workers may still look who is there. */
  private final List<Meeting.Place> held = new ArrayList<>();
  private volatile Runnable flush = () -> {};

  Runner(ConnectionFactory factory, Meeting meeting, Rows rows, Settings settings) {
    this.factory = factory;
    this.meeting = meeting;
    this.rows = rows;
    this.settings = settings;
  }

  /** Fails if PerfTest does not know a parameter, or its value is not valid. */
  static void check(Step step) {
    try {
      ScenarioFactory.paramsFromJSON(step.params());
      Part.count(step, "producer-count");
      Part.count(step, "consumer-count");
    } catch (SpecException e) {
      throw e;
    } catch (RuntimeException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      throw new SpecException("scenario `" + step.scenario() + "`: " + cause.getMessage());
    }
  }

  /** Runs the steps; returns whether this worker had messages, or nothing to do. */
  boolean run(List<Step> steps) throws Exception {
    int count = settings.share().count();
    Runtime.getRuntime().addShutdownHook(new Thread(this::flush));
    ScheduledExecutorService flusher = Executors.newSingleThreadScheduledExecutor(Runner::daemon);
    flusher.scheduleAtFixedRate(this::flush, 1, 1, TimeUnit.SECONDS);
    // In this order: when all are members, the number of workers on this node is complete.
    try (Meeting.Place node = meeting.join("node " + bootId());
        Meeting.Place members = meeting.join("members")) {
      members.await(() -> count);
      boolean hasOtherNodes = settings.isSplit() && node.present() < count;
      if (hasOtherNodes) {
        say("workers are on several nodes: times of received messages are differences of the nodes' clocks, in milliseconds");
      }
      for (Step step : steps) {
        run(paced(step, hasOtherNodes), members);
      }
    } finally {
      flusher.shutdownNow();
    }
    return messages > 0 || steps.stream().allMatch(Part::isIdle);
  }

  private static Thread daemon(Runnable task) {
    Thread thread = new Thread(task, "atq-flush");
    thread.setDaemon(true);
    return thread;
  }

  private void flush() {
    flush.run();
    rows.flush();
  }

  private Step paced(Step step, boolean hasOtherNodes) {
    Map<String, Object> params = Part.paced(step, maximum);
    return step.with(hasOtherNodes ? Spec.merged(Map.of("use-millis", true), params) : params);
  }

  private void run(Step step, Meeting.Place members) throws Exception {
    Broker.use(factory, step.uri());
    boolean usesMillis = Boolean.parseBoolean(String.valueOf(step.params().get("use-millis")));
    Measurement measurement = new Measurement(step.label(), usesMillis, rows);
    try {
      measure(step, measurement, members);
    } finally {
      flush = () -> {};
      measurement.flush();
      rows.flush();
    }
    check(rows);
  }

  /** All workers start a step together, when their consumers have queues. */
  private void begin(Step step, Meeting.Place members) throws IOException, InterruptedException {
    Meeting.Place start = meeting.join("start of " + name(step));
    start.await(members::present);
    for (Meeting.Place place : held) {
      place.close();
    }
    held.clear();
    held.add(start);
  }

  /** Consumers receive messages as long as any worker publishes. */
  private void end(Step step, Meeting.Place members) throws IOException, InterruptedException {
    Meeting.Place end = meeting.join("end of " + name(step));
    held.add(end);
    try {
      end.await(members::present);
    } catch (Meeting.IncompleteException e) {
      say("warning: " + e.getMessage() + "; going on without the others");
    }
  }

  private void measure(Step step, Measurement measurement, Meeting.Place members) throws Exception {
    MulticastParams params = ScenarioFactory.paramsFromJSON(step.params());
    params.setFunctionalLogger(measurement);
    ConcurrentHashMap<String, Integer> reasons = new ConcurrentHashMap<>();
    Channels channels = new Channels();
    factory.setMetricsCollector(channels);
    Completion completion =
        new Completion(
            PerfTest.getCompletionHandler(params, reasons), measurement, channels, () -> end(step, members), settings);
    flush = () -> {
      completion.tick();
      measurement.flush();
    };
    new MulticastSet(
            measurement, factory, params, "perftest", null, completion, new ShutdownService(),
            new ExpectedMetrics(params, new SimpleMeterRegistry(), "", Map.of()), () -> begin(step, members))
        .run();
    report(step, measurement, completion);
    reasons.keySet().removeAll(REGULAR);
    if (!reasons.isEmpty()) {
      throw new PerfTestException(name(step) + " ended early: " + reasons.keySet());
    }
  }

  private void report(Step step, Measurement measurement, Completion completion) {
    if (step.pace() instanceof Pace.Maximum && !Part.isIdle(step)) {
      maximum = completion.rate();
      say(String.format(Locale.ROOT, "%s: the maximum is %.0f messages/s", name(step), maximum));
    }
    List<String> counts = new ArrayList<>();
    for (Operation operation : measurement.operations()) {
      messages += operation.messages();
      counts.add(operation.name() + "=" + operation.messages());
    }
    String idle = Part.isIdle(step) ? " (no producer and no consumer for this worker)" : "";
    say(name(step) + ": " + String.join(" ", counts) + idle);
    if (!completion.isDrained()) {
      say(name(step) + ": the consumers were still receiving " + settings.drain().toSeconds()
          + " s after the end (PERFTEST_DRAIN); what was left in the queues then is dropped");
    }
    if (completion.doubt() != null) {
      say("warning: " + name(step) + ": the counts may differ from those of the broker: " + completion.doubt());
    }
    if (measurement.foreign() > 0) {
      say("warning: " + name(step) + ": " + measurement.foreign()
          + " messages that PerfTest has not published are not counted");
    }
  }

  private static void check(Rows rows) {
    if (rows.hasFailed()) {
      throw new ResultsException("the result file cannot be written completely; is the disk full?");
    }
  }

  private static String name(Step step) {
    return (step.scenario() + " " + step.label()).trim();
  }

  /** The same in all containers of a node, and different on other nodes. */
  private static String bootId() throws IOException {
    return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).trim();
  }
}
