/* SPDX-License-Identifier: MPL-2.0
 *
 * Both elements in one program, which carries the messages of their call itself (signaller=application): what one says,
 * the other hears. Sends three seconds of a test picture and counts the frames that arrive.
 *
 *     cc one_process.c -o one_process $(pkg-config --cflags --libs gstreamer-1.0) && ./one_process
 *
 * The plugin has to be installed, or in GST_PLUGIN_PATH.
 */
#include <gst/gst.h>

/* What one element says, the other hears. Another program would put a network between the two. Called on a thread of
 * its own; it may block. */
static void
said (GstElement *from, const gchar *message, gpointer to)
{
  gboolean taken = FALSE;

  g_signal_emit_by_name (to, "handle-signalling-message", message, &taken);
  if (!taken)
    g_printerr ("not taken; the bus says why\n");
}

static void
count (GstElement *counter, GstBuffer *buffer, gpointer frames)
{
  g_atomic_int_inc ((gint *) frames);
}

int
main (int argc, char **argv)
{
  GError *error = NULL;
  GstElement *pipeline, *sender, *receiver, *counter;
  GstBus *bus;
  GstMessage *message;
  gint frames = 0, status = 1;

  gst_init (&argc, &argv);
  pipeline = gst_parse_launch ("videotestsrc num-buffers=90 ! vp8enc deadline=1 "
      "! rswebrtcsink name=sender signaller=application ice-addresses=127.0.0.1 "
      "rswebrtcsrc name=receiver signaller=application ice-addresses=127.0.0.1 "
      "! identity name=counter ! fakesink", &error);
  if (error != NULL) {
    g_printerr ("%s\n", error->message);
    g_clear_error (&error);
    g_clear_object (&pipeline);
    return 1;
  }
  sender = gst_bin_get_by_name (GST_BIN (pipeline), "sender");
  receiver = gst_bin_get_by_name (GST_BIN (pipeline), "receiver");
  counter = gst_bin_get_by_name (GST_BIN (pipeline), "counter");
  g_signal_connect (sender, "on-signalling-message", G_CALLBACK (said), receiver);
  g_signal_connect (receiver, "on-signalling-message", G_CALLBACK (said), sender);
  g_signal_connect (counter, "handoff", G_CALLBACK (count), &frames);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  bus = gst_element_get_bus (pipeline);
  message = gst_bus_timed_pop_filtered (bus, 30 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  if (message == NULL) {
    g_printerr ("the call did not end in time\n");
  } else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error (message, &error, NULL);
    g_printerr ("%s\n", error->message);
    g_clear_error (&error);
  } else {
    g_print ("%d frames arrived\n", g_atomic_int_get (&frames));
    status = 0;
  }
  g_clear_pointer (&message, gst_message_unref);
  gst_object_unref (bus);
  gst_object_unref (counter);
  gst_object_unref (receiver);
  gst_object_unref (sender);
  gst_object_unref (pipeline);
  return status;
}
