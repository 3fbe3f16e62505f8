package com.rabbitmq.perf;

import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.NoOpMetricsCollector;
import java.io.IOException;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The channels of a step, so that it can end without losing a message: the client reports them as to a collector of metrics. */
final class Channels extends NoOpMetricsCollector {

  private final Set<Channel> open = ConcurrentHashMap.newKeySet();
  /** Channels of consumers by consumer tag. */
  private final Map<String, Channel> consumers = new ConcurrentHashMap<>();

  @Override
  public void newChannel(Channel channel) {
    open.add(channel);
  }

  @Override
  public void closeChannel(Channel channel) {
    open.remove(channel);
    consumers.values().remove(channel);
  }

  @Override
  public void basicConsume(Channel channel, String tag, boolean autoAck) {
    consumers.put(tag, channel);
  }

  @Override
  public void basicCancel(Channel channel, String tag) {
    consumers.remove(tag);
  }

  /** Ends all deliveries: those that the broker has sent are in this process when this returns. */
  void cancelConsumers() throws IOException {
    for (Map.Entry<String, Channel> consumer : consumers.entrySet()) {
      call(() -> consumer.getValue().basicCancel(consumer.getKey()));
    }
  }

  /** Waits until the broker has processed all published messages: a channel handles its commands in order. */
  void flush() throws IOException {
    for (Channel channel : open) {
      call(() -> channel.exchangeDeclarePassive("amq.direct"));
    }
  }

  private static void call(Call call) throws IOException {
    try {
      call.run();
    } catch (AlreadyClosedException e) {
      // A closed channel delivers nothing and has nothing to publish.
    }
  }

  private interface Call {
    void run() throws IOException;
  }
}
