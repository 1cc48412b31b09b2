package org.edgepack.harness;

import android.app.Activity;
import android.os.Bundle;
import android.view.WindowManager;
import android.widget.TextView;

/** The foreground while a model is timed: keeps the screen on and says what goes on. */
public final class Screen extends Activity {
    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        getWindow().addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON);
        TextView text = new TextView(this);
        text.setText("edgepack: a model is being timed. Leave the device alone, off the charger.");
        setContentView(text);
    }
}
